package procs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Member is one server process and where it lives.
type Member struct {
	ID      int
	Name    string
	Client  string // URL
	Peer    string // URL
	Listen  string // URL behind Peer when there are links, else empty
	Seam    Seam   // "" unless it was built for this suite
	DataDir string
	Log     string // file, appended to by every start

	Initial string   // --initial-cluster of the next start
	State   string   // --initial-cluster-state of the next start
	Flags   []string // of this member alone

	config *Config
	launch launcher

	process *process
	asked   bool   // the end of the running process was asked for
	unasked string // how a process ended that nobody had asked to
	status  int    // and its exit status
}

// process is one run of a member. done is closed when it has ended, after err was set.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

const (
	killed = syscall.SIGKILL
	// patience bounds the wait for a process to end after SIGTERM.
	patience = 30 * time.Second
)

// Start starts the member's process, on what its data directory holds.
func (m *Member) Start() error {
	if m.Running() {
		return fmt.Errorf("procs: %s is running already", m.Name)
	}
	log, err := os.OpenFile(m.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("procs: open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(m.config.Binary, m.config.args(m)...) //nolint:gosec // the binary is what the caller asked to test
	cmd.Stdout, cmd.Stderr = log, log
	if m.Seam != "" {
		cmd.Env = append(os.Environ(), seamVariable+"="+strings.TrimPrefix(string(m.Seam), "http://"))
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	if err := m.launch.start(cmd); err != nil {
		return fmt.Errorf("procs: start %s: %w", m.Name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	m.process, m.asked = p, false
	return nil
}

// Running says whether the process is there; a paused one is. An end nobody asked for is noted.
func (m *Member) Running() bool {
	if m.process == nil {
		return false
	}
	select {
	case <-m.process.done:
		m.note()
		return false
	default:
		return true
	}
}

func (m *Member) note() {
	if !m.asked {
		m.unasked, m.status = fmt.Sprint(m.process.err), m.process.cmd.ProcessState.ExitCode()
	}
	m.process = nil
}

// Pid is the process id, 0 when nothing runs.
func (m *Member) Pid() int {
	if !m.Running() {
		return 0
	}
	return m.process.cmd.Process.Pid
}

// Kill ends the process with SIGKILL and waits until it is gone. Afterwards nothing of it runs: the fault took effect.
func (m *Member) Kill() error {
	if err := m.signal(killed); err != nil {
		return err
	}
	return m.wait()
}

// Stop asks the process to end with SIGTERM and waits until it has.
func (m *Member) Stop() error {
	if err := m.signal(syscall.SIGTERM); err != nil {
		return err
	}
	return m.wait()
}

// Pause stops the process with SIGSTOP and verifies that the kernel has stopped it.
func (m *Member) Pause() error {
	if err := m.kill(syscall.SIGSTOP); err != nil {
		return err
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.Pid()))
		if err != nil {
			return fmt.Errorf("procs: pause %s: %w", m.Name, err)
		}
		if _, after, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(after, "T") {
			return nil
		}
	}
	return fmt.Errorf("procs: %s was not stopped by SIGSTOP", m.Name)
}

// Resume lets a paused process go on.
func (m *Member) Resume() error { return m.kill(syscall.SIGCONT) }

// signal sends a signal that ends the process.
func (m *Member) signal(s syscall.Signal) error {
	if err := m.kill(s); err != nil {
		return err
	}
	m.asked = true
	return nil
}

func (m *Member) kill(s syscall.Signal) error {
	if !m.Running() {
		return fmt.Errorf("procs: %s: %w", m.Name, errNotRunning)
	}
	if err := m.process.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("procs: %s to %s: %w", s, m.Name, err)
	}
	return nil
}

var errNotRunning = errors.New("is not running")

func (m *Member) wait() error {
	p := m.process
	if p == nil {
		return fmt.Errorf("procs: %s: %w", m.Name, errNotRunning)
	}
	select {
	case <-p.done:
		m.process = nil
		return nil
	case <-time.After(patience):
		return fmt.Errorf("procs: %s did not end within %v", m.Name, patience)
	}
}

// Ended waits until the process has ended by itself and returns its exit status, -1 if a signal ended it.
// It is no unasked end: the caller judges it.
func (m *Member) Ended(ctx context.Context) (int, error) {
	p := m.process
	if p == nil && m.unasked != "" { // it was noticed before
		m.unasked = ""
		return m.status, nil
	}
	if p == nil {
		return 0, fmt.Errorf("procs: %s: %w", m.Name, errNotRunning)
	}
	select {
	case <-p.done:
		m.process = nil
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("procs: %s has not ended: %w", m.Name, ctx.Err())
	}
}

// Wipe removes what the member has stored, as a lost disk does.
func (m *Member) Wipe() error {
	if m.Running() {
		return fmt.Errorf("procs: %s is running and cannot lose its disk", m.Name)
	}
	if err := os.RemoveAll(m.DataDir); err != nil {
		return fmt.Errorf("procs: wipe %s: %w", m.Name, err)
	}
	return nil
}

// Save copies the data directory of a member that does not run to another place.
func (m *Member) Save(to string) error { return copyTree(m, m.DataDir, to) }

// Restore puts a copy of the data directory in the place of what is there.
func (m *Member) Restore(from string) error {
	if err := m.Wipe(); err != nil {
		return err
	}
	return copyTree(m, from, m.DataDir)
}

func copyTree(m *Member, from, to string) error {
	if m.Running() {
		return fmt.Errorf("procs: %s is running: a copy of its data would be torn", m.Name)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("procs: copy the data of %s: %w", m.Name, err)
	}
	return nil
}

// destroy ends the process if there is one, whatever state it is in.
func (m *Member) destroy() {
	if !m.Running() {
		return
	}
	m.asked = true
	_ = m.process.cmd.Process.Kill()
	<-m.process.done
	m.process = nil
}

// Ready waits until the member answers a quorum read, or has ended, or ctx has.
func (m *Member) Ready(ctx context.Context) error {
	var last error
	for ctx.Err() == nil {
		if !m.Running() {
			return fmt.Errorf("procs: %s ended while it started: %s", m.Name, m.unasked)
		}
		if last = m.probe(ctx); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("procs: %s is not ready: %w", m.Name, errors.Join(last, ctx.Err()))
}

func (m *Member) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Client+"/v2/keys/torture-probe?quorum=true", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound {
		return fmt.Errorf("answers %s", resp.Status)
	}
	return nil
}
