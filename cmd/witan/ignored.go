package main

import "slices"

// kind is what a flag without a feature takes as its value. A value of the
// wrong kind is refused although nobody uses it: better now than on the day
// the feature arrives.
type kind int

const (
	text kind = iota
	number
	boolean
	anything // any value or none, as etcd 2.3 treats the flags it ignores
)

// ignoredFlag is a flag of etcd 2.3 or 3 that is accepted and does nothing.
// The reason, if there is one, is for the log.
type ignoredFlag struct {
	kind   kind
	name   string
	reason string
}

const (
	noTLS    = "connections are not encrypted yet"
	noV3     = "it belongs to etcd's v3 API"
	noDisk   = "files are kept and removed as snapshots need them"
	obsolete = "etcd 2.3 ignores it too"
)

// ignoredFlags lists them, by the sections of etcd's own help (contract §5.2).
func ignoredFlags() []ignoredFlag {
	return slices.Concat(ignoredMemberFlags(), ignoredClusterFlags(), ignoredSecurityFlags(), ignoredLoggingFlags(),
		ignoredOtherFlags(), ignoredObsoleteFlags(), ignoredExperimentalFlags())
}

func ignoredMemberFlags() []ignoredFlag {
	return []ignoredFlag{
		{text, "wal-dir", "the log is kept inside --data-dir"},
		{number, "max-snapshots", noDisk},
		{number, "max-wals", noDisk},
		{boolean, "initial-election-tick-advance", ""},
		{number, "quota-backend-bytes", ""},
		{text, "backend-batch-interval", ""},
		{number, "backend-batch-limit", ""},
		{number, "max-txn-ops", noV3},
		{number, "max-request-bytes", "--max-value-bytes limits values"},
		{number, "max-concurrent-streams", noV3},
		{text, "grpc-keepalive-min-time", noV3},
		{text, "grpc-keepalive-interval", noV3},
		{text, "grpc-keepalive-timeout", noV3},
		{boolean, "socket-reuse-port", ""},
		{boolean, "socket-reuse-address", ""},
		{text, "listen-client-http-urls", "--listen-client-urls serves HTTP"},
		{number, "raft-read-timeout", ""},
		{number, "raft-write-timeout", ""},
	}
}

func ignoredClusterFlags() []ignoredFlag {
	return []ignoredFlag{
		{boolean, "pre-vote", "it is always on"},
		{text, "auto-compaction-retention", "--event-history limits the history"},
		{text, "auto-compaction-mode", "--event-history limits the history"},
		{text, "v2-deprecation", "the v2 API is always on"},
	}
}

func ignoredSecurityFlags() []ignoredFlag {
	return []ignoredFlag{
		{text, "cert-file", noTLS},
		{text, "key-file", noTLS},
		{text, "ca-file", noTLS},
		{text, "trusted-ca-file", noTLS},
		{boolean, "client-cert-auth", noTLS},
		{text, "client-cert-file", noTLS},
		{text, "client-key-file", noTLS},
		{text, "client-crl-file", noTLS},
		{text, "client-cert-allowed-hostname", noTLS},
		{boolean, "auto-tls", noTLS},
		{text, "peer-cert-file", noTLS},
		{text, "peer-key-file", noTLS},
		{text, "peer-ca-file", noTLS},
		{text, "peer-trusted-ca-file", noTLS},
		{boolean, "peer-client-cert-auth", noTLS},
		{text, "peer-client-cert-file", noTLS},
		{text, "peer-client-key-file", noTLS},
		{text, "peer-crl-file", noTLS},
		{text, "peer-cert-allowed-cn", noTLS},
		{text, "peer-cert-allowed-hostname", noTLS},
		{boolean, "peer-auto-tls", noTLS},
		{number, "self-signed-cert-validity", noTLS},
		{text, "cipher-suites", noTLS},
		{text, "tls-min-version", noTLS},
		{text, "tls-max-version", noTLS},
		{text, "host-whitelist", "every Host header is accepted"},
		{text, "auth-token", noV3},
		{number, "auth-token-ttl", noV3},
		{number, "bcrypt-cost", "there are no users yet"},
	}
}

func ignoredLoggingFlags() []ignoredFlag {
	return []ignoredFlag{
		{boolean, "enable-pprof", ""},
		{text, "metrics", ""},
		{text, "listen-metrics-urls", ""},
		{text, "log-package-levels", "--log-level sets the level of all parts"},
		{text, "logger", "the log is JSON, or plain text on a terminal"},
		{text, "log-outputs", "the log goes to standard error"},
		{text, "log-format", "the log is JSON, or plain text on a terminal"},
		{boolean, "enable-log-rotation", "the log goes to standard error"},
		{text, "log-rotation-config-json", "the log goes to standard error"},
	}
}

func ignoredOtherFlags() []ignoredFlag {
	return []ignoredFlag{
		{boolean, "unsafe-no-fsync", "every write is synced"},
	}
}

func ignoredObsoleteFlags() []ignoredFlag {
	return []ignoredFlag{
		{text, "addr", "use --advertise-client-urls"},
		{text, "bind-addr", "use --listen-client-urls"},
		{text, "peer-addr", "use --initial-advertise-peer-urls"},
		{text, "peer-bind-addr", "use --listen-peer-urls"},
		{anything, "cluster-active-size", obsolete},
		{anything, "cluster-remove-delay", obsolete},
		{anything, "cluster-sync-interval", obsolete},
		{anything, "config", obsolete},
		{anything, "force", obsolete},
		{anything, "max-result-buffer", obsolete},
		{anything, "max-retry-attempts", obsolete},
		{anything, "peer-heartbeat-interval", obsolete},
		{anything, "peer-election-timeout", obsolete},
		{anything, "retry-interval", obsolete},
		{anything, "snapshot", obsolete},
		{anything, "v", obsolete},
		{anything, "vv", obsolete},
	}
}

func ignoredExperimentalFlags() []ignoredFlag {
	return []ignoredFlag{
		{boolean, "experimental-v3demo", noV3},
		{text, "experimental-gRPC-addr", noV3},
		{text, "experimental-auto-compaction-retention", noV3},
		{boolean, "experimental-initial-corrupt-check", ""},
		{text, "experimental-corrupt-check-time", ""},
		{text, "experimental-enable-v2v3", noV3},
		{text, "experimental-backend-bbolt-freelist-type", noV3},
		{boolean, "experimental-enable-lease-checkpoint", noV3},
		{boolean, "experimental-enable-lease-checkpoint-persist", noV3},
		{number, "experimental-compaction-batch-limit", noV3},
		{text, "experimental-compaction-sleep-interval", noV3},
		{boolean, "experimental-peer-skip-client-san-verification", noTLS},
		{text, "experimental-watch-progress-notify-interval", noV3},
		{text, "experimental-warning-apply-duration", ""},
		{text, "experimental-warning-unary-request-duration", noV3},
		{boolean, "experimental-memory-mlock", ""},
		{boolean, "experimental-txn-mode-write-with-shared-buffer", noV3},
		{number, "experimental-bootstrap-defrag-threshold-megabytes", noV3},
		{number, "experimental-max-learners", ""},
		{text, "experimental-wait-cluster-ready-timeout", ""},
		{number, "experimental-snapshot-catchup-entries", ""},
		{text, "experimental-downgrade-check-time", ""},
		{boolean, "experimental-compact-hash-check-enabled", noV3},
		{text, "experimental-compact-hash-check-time", noV3},
		{boolean, "experimental-stop-grpc-service-on-defrag", noV3},
		{boolean, "experimental-enable-distributed-tracing", ""},
		{text, "experimental-distributed-tracing-address", ""},
		{text, "experimental-distributed-tracing-service-name", ""},
		{text, "experimental-distributed-tracing-instance-id", ""},
		{number, "experimental-distributed-tracing-sampling-rate", ""},
	}
}

// defineIgnored registers etcd's flags that have no feature behind them. They
// are not in --help.
func (t *flagTable) defineIgnored() {
	for _, f := range ignoredFlags() {
		switch f.kind {
		case text:
			t.set.String(f.name, "", "")
		case number:
			t.set.Float64(f.name, 0, "")
		case boolean:
			t.set.Bool(f.name, false, "")
		case anything:
			t.set.Var(new(anyValue), f.name, "")
		}
		note := "flag --" + f.name + " is accepted but has no effect"
		if f.reason != "" {
			note += ": " + f.reason
		}
		t.known = append(t.known, knownFlag{name: f.name, note: note})
	}
}

// defineRefused registers the flags that ask for another way to start; they
// are not in --help. Going on without them would not be less of what was asked
// for but something else. refusals says no to them.
func (t *flagTable) defineRefused(c *config) {
	for name, value := range map[string]*string{
		"peers":      &c.Peers,
		"peers-file": &c.PeersFile,
	} {
		t.set.StringVar(value, name, *value, "")
		t.known = append(t.known, knownFlag{name: name})
	}
}

// anyValue is a flag that may have a value or none.
type anyValue struct{}

func (anyValue) String() string { return "" }

// Set implements flag.Value.
func (anyValue) Set(string) error { return nil }

// IsBoolFlag tells the flag package that no value need follow.
func (anyValue) IsBoolFlag() bool { return true }
