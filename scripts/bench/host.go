package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// host says where and with what the figures were taken.
type host struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Kernel   string            `json:"kernel"`
	Go       string            `json:"go"` // that this program was made with
	Versions map[string]string `json:"versions"`
	Commit   string            `json:"commit"`
	Date     string            `json:"date"`
	Fsync    fsyncTimes        `json:"fsync_us"` // of the disk, before the first measurement
}

// fsyncTimes are how long it takes to append 512 bytes and sync them, µs.
type fsyncTimes struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// describeHost looks around. dir is on the disk to measure.
func describeHost(ctx context.Context, products []product, dir string) (host, error) {
	h := host{
		CPU:      cpuModel(),
		Cores:    runtime.NumCPU(),
		Kernel:   shortVersion(firstLine(os.ReadFile("/proc/sys/kernel/osrelease"))),
		Go:       runtime.Version(),
		Versions: make(map[string]string),
		Commit:   firstLine(exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()),
		Date:     time.Now().UTC().Format("2006-01-02 15:04 UTC"),
	}
	for _, p := range products {
		if p.name != floorName {
			text, err := exec.CommandContext(ctx, p.binary, "--version").Output()
			if err != nil {
				return h, fmt.Errorf("%s --version: %w", p.binary, err)
			}
			h.Versions[p.name] = versionOf(p.name, string(text))
		}
	}
	var err error
	h.Fsync, err = measureFsync(dir)
	return h, err
}

// versionOf finds the version of a product, and of the Go it was made with, in
// what it says of itself in lines like "etcd Version: 3.4.23".
func versionOf(product, text string) string {
	found := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, version, ok := strings.Cut(line, " Version: "); ok {
			found[strings.ToLower(name)] = strings.TrimSpace(version)
		}
	}
	if product == otherName {
		product = witanName
	}
	if found[product] == "" {
		return "unknown"
	}
	return fmt.Sprintf("%s, made with %s", found[product], found["go"])
}

// shortVersion returns the first two numbers of a kernel's version. The rest
// says who built it.
func shortVersion(release string) string {
	parts := strings.SplitN(release, ".", 3)
	return strings.Join(parts[:min(len(parts), 2)], ".")
}

// firstLine returns the first line of text, or "unknown" if there is none.
func firstLine(text []byte, err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if err != nil || line == "" {
		return "unknown"
	}
	return line
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// measureFsync finds out how fast the disk below dir is: it decides over the
// latency of a single writer.
func measureFsync(dir string) (times fsyncTimes, err error) {
	file, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return times, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	var h histogram
	block := make([]byte, 512)
	for range 300 {
		started := time.Now()
		if _, err := file.Write(block); err != nil {
			return times, err
		}
		if err := file.Sync(); err != nil {
			return times, fmt.Errorf("fsync: %w", err)
		}
		h.add(time.Since(started))
	}
	return fsyncTimes{P50: microseconds(h.quantile(0.5)), P99: microseconds(h.quantile(0.99))}, nil
}
