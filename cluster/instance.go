package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/witan-kv/witan/cluster/peer"
)

// instanceFile keeps the random number of a data directory from before the
// cluster hears of it until the identity has it: a process that dies in
// between comes back as the same.
const instanceFile = "instance"

func loadInstance(dir string) (uint64, error) {
	b, err := os.ReadFile(filepath.Join(dir, instanceFile))
	if err == nil {
		if instance, err := strconv.ParseUint(strings.TrimSpace(string(b)), 16, 64); err == nil {
			return instance, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("cluster: %w", err)
	}
	instance := rand.Uint64()
	if err := writeFileSync(dir, instanceFile, []byte(strconv.FormatUint(instance, 16)+"\n")); err != nil {
		return 0, fmt.Errorf("cluster: %w", err)
	}
	return instance, nil
}

// mistakenFounder handles a process without data that heard nothing of the
// others, set out to found a cluster, and was then told that it is a member
// that lost its data, or one that is removed (by an earlier try to replace itself, whose answer was
// lost), or that there is a cluster already. If it may replace itself, what it made meanwhile, which
// nobody has ever listened to, is thrown away, and again says to start over.
func mistakenFounder(c *Config, openErr error) (again bool, err error) {
	if !isAny(openErr, peer.ErrForeignData, peer.ErrOtherCluster, ErrExpelled) || c.Join != JoinAuto || !c.ReplaceLostSelf {
		return false, nil
	}
	id, err := loadIdentity(c.DataDir)
	if err != nil || id == nil || id.Published || id.Joined {
		return false, err
	}
	c.Logger.Warn().Err(openErr).Msg("starting over as a new member")
	return true, discardData(c.DataDir)
}

// discardData empties a data directory, which may be a mount point. The
// identity goes last: what is left before that is still refused.
func discardData(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	for _, e := range entries {
		if e.Name() == identityFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
	}
	if err := os.Remove(filepath.Join(dir, identityFile)); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

func forgetInstance(dir string) error {
	err := os.Remove(filepath.Join(dir, instanceFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}
