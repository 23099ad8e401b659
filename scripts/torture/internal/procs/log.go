package procs

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// Tail reads what a member's log gains. It is for one goroutine.
type Tail struct {
	Member *Member

	path string
	at   int64
	rest []byte // begin of a line whose end is not written yet
}

// Tail returns a reader of what the member logs from now on.
func (m *Member) Tail() (*Tail, error) {
	info, err := os.Stat(m.Log)
	if os.IsNotExist(err) {
		return &Tail{Member: m, path: m.Log}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("procs: %w", err)
	}
	return &Tail{Member: m, path: m.Log, at: info.Size()}, nil
}

// Lines are all that the member has logged.
func (m *Member) Lines() ([]string, error) { return (&Tail{Member: m, path: m.Log}).Lines() }

// Lines are the whole lines written since the last call.
func (t *Tail) Lines() ([]string, error) {
	f, err := os.Open(t.path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("procs: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, t.at, 1<<62))
	if err != nil {
		return nil, fmt.Errorf("procs: read log: %w", err)
	}
	t.at += int64(len(text))
	t.rest = append(t.rest, text...)
	var lines []string
	for {
		line, after, whole := bytes.Cut(t.rest, []byte("\n"))
		if !whole {
			return lines, nil
		}
		lines, t.rest = append(lines, string(line)), after
	}
}
