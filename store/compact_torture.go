//go:build torture

package store

import "fmt"

// Compact lets Badger merge the levels of its tables now.
// Builds for the torture suite have it, releases do not.
func (s *Store) Compact() error {
	v, err := s.kv.latest()
	if err != nil {
		return err
	}
	defer v.release()
	if err := v.db.badger.Flatten(1); err != nil {
		return fmt.Errorf("store: compact: %w", err)
	}
	return nil
}
