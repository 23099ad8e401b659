package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// saved is etcd's own format, so that a gateway can take the place of a proxy
// of etcd with its directory.
type saved struct {
	PeerURLs []string
}

// SavedPeers returns the peer URLs that a gateway has left in a file, none if
// there is no file.
func SavedPeers(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("gateway: %s is not a list of peer URLs (%w); remove it to begin with --initial-cluster again", file, err)
	}
	return s.PeerURLs, nil
}

// savePeers replaces the file in one step: a crash leaves the old or the new.
func savePeers(file string, peers []string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("gateway: %w", err)
		}
	}()
	b, err := json.Marshal(saved{PeerURLs: peers})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
