package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/witan-kv/witan/cluster"
)

const verifyHelp = `witan verify checks a backup, or the data directory of a member that is stopped.

usage: witan verify PATH

It reads everything there is, says what it found, and ends with status 1 if
something is wrong. A backup can be - for standard input.
`

// runVerify is `witan verify`.
func runVerify(args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		return complain(stderr, &usageError{errors.New("verify needs the path of a backup or of a data directory")})
	}
	if args[0] == "-h" || args[0] == "--help" || args[0] == "-help" {
		fmt.Fprint(stdout, verifyHelp)
		return exitOK
	}
	if err := verify(args[0], stdout, stderr); err != nil {
		return complain(stderr, err)
	}
	fmt.Fprintln(stdout, "nothing is wrong with it")
	return exitOK
}

func verify(path string, stdout, stderr io.Writer) error {
	if path == "-" {
		return verifyBackup(os.Stdin, "standard input", stdout)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return verifyDir(path, stdout, stderr)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	return verifyBackup(f, path, stdout)
}

func verifyBackup(r io.Reader, name string, stdout io.Writer) error {
	found, err := cluster.VerifyBackup(r)
	if found.Groups > 0 {
		fmt.Fprintf(stdout, "%s: backup of cluster %x at index %d, %s; groups: %d, version: %s\n",
			name, found.ClusterID, found.Index, found.Time.Format(time.RFC3339), found.Groups, found.Version)
		fmt.Fprintf(stdout, "nodes read: %d\n", found.Nodes)
	}
	return err
}

func verifyDir(dir string, stdout, stderr io.Writer) error {
	cfg := cluster.DefaultConfig()
	cfg.DataDir, cfg.Logger = dir, newLogger(stderr, "error")
	found, err := cluster.VerifyDir(cfg)
	if found.ClusterID != 0 {
		fmt.Fprintf(stdout, "%s: member %x of cluster %x; members: %d, groups: %d\n", dir, found.MemberID, found.ClusterID, found.Members, len(found.Groups))
	}
	for i, g := range found.Groups {
		log := "not started yet"
		if g.LogLast > 0 {
			log = fmt.Sprintf("log: %d to %d, applied: %d", g.LogFirst, g.LogLast, g.RaftIndex)
		}
		fmt.Fprintf(stdout, "group %d: nodes: %d (directories: %d, with a TTL: %d), events: %d; index %d; %s; hash %016x\n",
			i, g.Nodes, g.Directories, g.WithTTL, g.Events, g.Index, log, g.Hash)
	}
	return err
}
