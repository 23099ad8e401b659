package store

// Op is what a Command asks for. It is decided once, where a request is
// parsed, and switched on once, in Apply.
type Op uint8

// The operations. The numbers are part of the log format: never reuse one.
const (
	OpSet              Op = 1 // write a file, or make a directory, whatever was there
	OpCreate           Op = 2 // only if nothing is there
	OpCreateInOrder    Op = 3 // a child of Key named by the index of this write
	OpUpdate           Op = 4 // only if something is there
	OpCompareAndSwap   Op = 5 // only if PrevValue and PrevIndex match
	OpDelete           Op = 6
	OpCompareAndDelete Op = 7
	OpAdvance          Op = 8 // the group clock goes on by Step and what is due expires (design §5)
	OpTick             Op = 9 // nothing but a floor (design §3)
)

// Command is one log entry of a key group: everything Apply needs to know, so
// that applying it is the same on every replica at any time.
type Command struct {
	Op        Op
	Key       Key
	Value     string
	Dir       bool // set, create, create in order: make a directory. delete: an empty directory may go
	Recursive bool // delete: and everything below
	Refresh   bool // set, update, compare-and-swap: keep the value, tell no watcher

	PrevValue string // "" = not compared
	PrevIndex uint64 // 0 = not compared

	HasTTL     bool
	TTL        int64 // seconds, 0…MaxTTL; with HasTTL
	Expiration int64 // shown to clients: the accepting member's wall clock + TTL, Unix nanoseconds; with HasTTL

	// Floor is the highest index the proposing member (or its client) had
	// seen in any group. What this command does gets a higher one (design §3).
	Floor uint64

	// Origin, Boot and Seq identify the proposal, so that one proposed twice
	// is done once. Boot counts the processes of the member, so that a later one's is higher;
	// Seq counts the proposals of one process to one group from
	// 1; Settled says that no proposal numbered at or below it will be
	// repeated. Origin 0 means the command is never repeated.
	Origin  uint64
	Boot    uint64
	Seq     uint64
	Settled uint64

	// Clock is the group clock the proposer of OpAdvance saw, Step how far it
	// goes on, both in nanoseconds. An OpAdvance whose Clock is not the
	// group's current one is void: another leader was faster.
	Clock int64
	Step  int64
}

// MaxTTL is the longest TTL in seconds, some 220 years: until 2040 its end is a
// time that nanoseconds in 64 bits can express.
const MaxTTL = 7_000_000_000
