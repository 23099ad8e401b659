package history

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Kind is the operation a client asked for, in the words of the v2 contract §1.2.
type Kind string

// The operations. Get is the plain, local read; QuorumGet the linearizable one.
const (
	Set       Kind = "set"
	Create    Kind = "create"
	Update    Kind = "update"
	CAS       Kind = "compareAndSwap"
	Delete    Kind = "delete"
	CAD       Kind = "compareAndDelete"
	Post      Kind = "post"
	Get       Kind = "get"
	QuorumGet Kind = "quorumGet"
)

// Writes says whether the operation changes something when it succeeds.
func (k Kind) Writes() bool { return k != Get && k != QuorumGet }

// Removes says whether the operation leaves no node behind.
func (k Kind) Removes() bool { return k == Delete || k == CAD }

// Outcome is what a client may conclude from the answer.
type Outcome string

// The outcomes. Unknown writes may take effect at any later time, or never.
const (
	OK      Outcome = "ok"
	Fail    Outcome = "fail" // certainly without effect
	Unknown Outcome = "unknown"
)

// Never is the Return of an operation whose end nobody saw.
const Never = time.Duration(math.MaxInt64)

// Op is one request of one client and what came back. Times are on the run's monotonic clock.
type Op struct {
	Client  int
	Conn    int // changes whenever the client opens a new connection
	Member  int
	Kind    Kind
	Key     string // for Post the directory until the answer names the node
	Value   string // written, or read; values written are unique in a run
	Outcome Outcome
	TTL     int // seconds to live, 0 is for ever

	// Conditions of CAS and CAD. PrevValue is always known to the client, also
	// when it compared by index, because it had read both together.
	PrevValue string
	ByIndex   uint64

	Call, Return time.Duration

	Found     bool   // a read found a node
	Code      int    // errorCode of the answer, 0 if none
	Index     uint64 // modifiedIndex of the node answered
	PrevIndex uint64 // modifiedIndex of prevNode, 0 if there was none
	PrevSeen  string // value of prevNode
	Header    uint64 // X-Etcd-Index
	AtLeast   uint64 // a plain read must not be older than this index (read your write)
	Err       string // why the outcome is unknown
}

// String is one line for people.
func (o *Op) String() string {
	end := "∞"
	if o.Return != Never {
		end = fmt.Sprintf("%.6fs", o.Return.Seconds())
	}
	return fmt.Sprintf("client %d member %d %s %s=%q prev=%q/%d [%.6fs,%s] %s index=%d prevNode=%d header=%d code=%d %s",
		o.Client, o.Member, o.Kind, o.Key, o.Value, o.PrevValue, o.ByIndex,
		o.Call.Seconds(), end, o.Outcome, o.Index, o.PrevIndex, o.Header, o.Code, o.Err)
}

// Segment is the first path segment of a key: the unit of order with several groups.
func Segment(key string) string {
	key = strings.TrimPrefix(key, "/")
	if i := strings.IndexByte(key, '/'); i >= 0 {
		return key[:i]
	}
	return key
}
