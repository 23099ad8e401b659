package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/cluster"
)

// Scheduled backups are files in --backup-dir, called after the member, the
// cluster, the index and the time:
//
//	infra1-7e27652122e8b2ae-00000000000000004711-20260102T150405Z.wbk
//
// One that is being written has another name, so whatever has this form is whole.
const (
	backupSuffix  = ".wbk"
	unfinishedEnd = ".tmp"
	backupTime    = "20060102T150405Z"

	// retryBackup is how long to wait after a backup that failed, or less if
	// they are to come more often.
	retryBackup = time.Minute
	// checkSpaceEvery is after how many bytes to look whether the disk has room left.
	checkSpaceEvery = 16 << 20
)

// backups makes the scheduled backups of a member.
type backups struct {
	dir      string
	prefix   string // of the names of its own
	interval time.Duration
	keep     int
	node     *cluster.Node
	log      zerolog.Logger
}

// startBackups begins to make scheduled backups, if there are to be any.
func (p *program) startBackups() {
	c := &p.config
	if c.BackupDir == "" || c.BackupInterval == 0 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stopBackups = stop
	b := backups{
		dir: c.BackupDir, interval: c.BackupInterval, keep: c.BackupKeep, node: p.node, log: p.log,
		// A name may hold anything; a file name may not.
		prefix: url.PathEscape(c.Name) + "-" + strconv.FormatUint(p.node.ClusterID(), 16) + "-",
	}
	p.serving.Go(func() { b.run(ctx) })
}

// run makes a backup whenever the newest one is old enough, also if that was
// made before this start: a member that is restarted often is not left without.
func (b *backups) run(ctx context.Context) {
	wait := b.due(time.Now())
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		path, err := b.make(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = min(b.interval, retryBackup)
			b.log.Error().Err(err).Stringer("retry", wait).Msg("a scheduled backup has failed")
			continue
		}
		b.log.Info().Str("file", path).Msg("a scheduled backup was made")
		if err := b.prune(); err != nil {
			b.log.Error().Err(err).Msg("old backups could not be removed")
		}
		wait = b.interval
	}
}

// due returns how long to wait before the first backup.
func (b *backups) due(now time.Time) time.Duration {
	own, err := b.own()
	if err != nil || len(own) == 0 {
		return 0
	}
	last := own[len(own)-1].made
	return min(max(last.Add(b.interval).Sub(now), 0), b.interval) // a clock may have been ahead
}

// made is a complete backup of this member in the directory.
type made struct {
	name  string
	index uint64
	made  time.Time
}

// own lists the complete backups of this member, the oldest first.
func (b *backups) own() ([]made, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	var all []made
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), b.prefix)
		rest, whole := strings.CutSuffix(rest, backupSuffix)
		digits, stamp, _ := strings.Cut(rest, "-")
		index, indexErr := strconv.ParseUint(digits, 10, 64)
		at, timeErr := time.Parse(backupTime, stamp)
		if ok && whole && indexErr == nil && timeErr == nil {
			all = append(all, made{e.Name(), index, at})
		}
	}
	slices.SortFunc(all, func(x, y made) int {
		if c := x.made.Compare(y.made); c != 0 {
			return c
		}
		return strings.Compare(x.name, y.name)
	})
	return all, nil
}

// prune removes backups beyond those that are to be kept.
func (b *backups) prune() error {
	own, err := b.own()
	if err != nil {
		return err
	}
	var errs []error
	for len(own) > b.keep {
		errs = append(errs, os.Remove(filepath.Join(b.dir, own[0].name)))
		own = own[1:]
	}
	return errors.Join(errs...)
}

// make makes a backup and returns its path. Until it is complete and on the
// disk it has a name of its own, which is given to no other.
func (b *backups) make(ctx context.Context) (path string, err error) {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return "", err
	}
	if err := b.removeUnfinished(); err != nil {
		return "", err
	}
	if err := b.node.CheckSpace(b.dir); err != nil {
		return "", err
	}
	source, err := b.node.OpenBackup(ctx)
	if err != nil {
		return "", err
	}
	defer source.Close()
	info := source.Info()
	path = filepath.Join(b.dir, fmt.Sprintf("%s%020d-%s%s", b.prefix, info.Index, info.Time.UTC().Format(backupTime), backupSuffix))
	f, err := os.OpenFile(path+unfinishedEnd, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	err = source.WriteTo(&careful{w: f, check: func() error { return b.node.CheckSpace(b.dir) }}, ctx.Done())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(path+unfinishedEnd))
	}
	if err := os.Rename(path+unfinishedEnd, path); err != nil {
		return "", err
	}
	return path, syncDir(b.dir)
}

// removeUnfinished removes what a member that was killed has left.
func (b *backups) removeUnfinished() error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), b.prefix) && strings.HasSuffix(e.Name(), backupSuffix+unfinishedEnd) {
			if err := os.Remove(filepath.Join(b.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// careful stops writing before the disk is full.
type careful struct {
	w     io.Writer
	check func() error
	since int // bytes written since the last look
}

func (c *careful) Write(p []byte) (int, error) {
	if c.since += len(p); c.since >= checkSpaceEvery {
		c.since = 0
		if err := c.check(); err != nil {
			return 0, err
		}
	}
	return c.w.Write(p)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
