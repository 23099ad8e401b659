package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/witan-kv/witan/cluster"
)

const restoreHelp = `witan restore makes the data directory of a member of a new cluster of a backup.

usage: witan restore --from FILE [--index-bump N] [--name=value …]

  --from                         the backup, - for standard input
  --index-bump                   how far above the backup's index the new one begins (default 1000000000)

The other settings are those the member will be started with, by flags, variables
or --config-file: --name, --data-dir, --initial-cluster, --initial-cluster-token,
--initial-advertise-peer-urls and --groups (default as in the backup) count here.
Run it for every member of --initial-cluster with the same file and the same
settings, then start all of them.

The old cluster may have gone on after the backup was made, and clients may have
seen higher indexes than it holds; --index-bump keeps the new ones apart.
`

// runRestore is `witan restore`.
func runRestore(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	from, bump, rest, err := restoreFlags(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, restoreHelp)
		return exitOK
	}
	if err != nil {
		return complain(stderr, err)
	}
	c, _, err := parseConfig(rest, env)
	if err == nil && c.Help {
		fmt.Fprint(stdout, restoreHelp)
		return exitOK
	}
	if err == nil {
		err = c.validate()
	}
	if err == nil && from == "" {
		err = errors.New("--from: no backup given; write --from FILE")
	}
	if err != nil {
		return complain(stderr, err)
	}
	cfg := c.cluster(newLogger(stderr, "warn"))
	if c.given["groups"] == "" {
		cfg.Groups = 0
	}
	defer limitMemory(c.Groups)()
	if err := restoreFrom(ctx, from, bump, cfg, stdout); err != nil {
		return complain(stderr, err)
	}
	return exitOK
}

func restoreFrom(ctx context.Context, from string, bump uint64, cfg cluster.Config, stdout io.Writer) (err error) {
	in := io.Reader(os.Stdin)
	if from != "-" {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	r, err := cluster.Restore(ctx, cfg, in, bump)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "nodes restored: %d, of cluster %x as of index %d, %s\n", r.Nodes, r.Backup.ClusterID, r.Backup.Index, r.Backup.Time.Format(time.RFC3339))
	fmt.Fprintf(stdout, "%s holds member %x of the new cluster %x; groups: %d, indexes above %d\n", cfg.DataDir, r.MemberID, r.ClusterID, r.Groups, r.FirstIndex)
	if len(cfg.InitialCluster) > 1 {
		fmt.Fprintf(stdout, "members to be restored from the same file with the same settings before they start: %s\n", others(&cfg))
	}
	return nil
}

// others names the members of the new cluster beside this one.
func others(c *cluster.Config) string {
	var names []string
	for _, p := range c.InitialCluster {
		if p.Name != c.Name {
			names = append(names, p.Name)
		}
	}
	return strings.Join(names, ", ")
}

// restoreFlags takes the flags of restore itself out of the arguments.
func restoreFlags(args []string) (from string, bump uint64, rest []string, err error) {
	bump = cluster.DefaultIndexBump
	for len(args) > 0 {
		name, value, inline := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(args[0], "-"), "-"), "=")
		own := strings.HasPrefix(args[0], "-") && (name == "from" || name == "index-bump")
		switch {
		case args[0] == "-h" || args[0] == "--help" || args[0] == "-help":
			return "", 0, nil, flag.ErrHelp
		case !own:
			rest, args = append(rest, args[0]), args[1:]
			continue
		case !inline && len(args) < 2:
			return "", 0, nil, &usageError{fmt.Errorf("flag needs an argument: -%s", name)}
		case !inline:
			value, args = args[1], args[1:]
		}
		args = args[1:]
		if name == "from" {
			from = value
		} else if bump, err = strconv.ParseUint(value, 10, 64); err != nil {
			return "", 0, nil, &usageError{fmt.Errorf("invalid value %q for flag -index-bump: it is not a whole number, 0 or more", value)}
		}
	}
	return from, bump, rest, nil
}
