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

func forgetInstance(dir string) error {
	err := os.Remove(filepath.Join(dir, instanceFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}
