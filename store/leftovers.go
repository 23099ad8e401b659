package store

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// tidy does away with log files that a power cut has left without content and
// that Badger does not know how to take.
func tidy(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var valueLogs []string
	for _, e := range entries {
		path, ext := filepath.Join(dir, e.Name()), filepath.Ext(e.Name())
		if ext != ".mem" && ext != ".vlog" {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case info.Size() == 0:
			// Caught between its creation and its first byte. Badger takes it for damage.
			if err := os.Remove(path); err != nil {
				return err
			}
		case ext == ".vlog":
			valueLogs = append(valueLogs, path)
		}
	}
	// Badger cuts the newest one itself.
	slices.Sort(valueLogs)
	for _, path := range valueLogs[:max(len(valueLogs), 1)-1] {
		if err := cutEmpty(path); err != nil {
			return err
		}
	}
	return nil
}

// cutEmpty cuts a value log without values to its header. Badger does so when
// it opens the newest one, and removes it the next time. But it does not sync that:
// after a power cut the file has its first size again, which is that of a full one, and is kept for ever.
func cutEmpty(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := bufio.NewReaderSize(f, 1<<16)
	if _, err := in.Discard(logHeader); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // shorter: not ours to judge
		}
		return err
	}
	for {
		b, err := in.Peek(1 << 16)
		if slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return f.Truncate(logHeader)
		}
		if err != nil {
			return err
		}
		if _, err := in.Discard(len(b)); err != nil {
			return err
		}
	}
}
