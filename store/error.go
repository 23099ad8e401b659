package store

// Code is an etcd v2 error code (contract §3.1).
type Code int

// The codes that this server answers with.
const (
	CodeKeyNotFound   Code = 100
	CodeCompareFailed Code = 101
	CodeNotFile       Code = 102
	CodeNotDir        Code = 104
	CodeNodeExist     Code = 105
	CodeRootReadOnly  Code = 107
	CodeDirNotEmpty   Code = 108
	CodeUnauthorized  Code = 110

	CodePrevValueRequired Code = 201
	CodeTTLNaN            Code = 202
	CodeIndexNaN          Code = 203
	CodeInvalidField      Code = 209
	CodeInvalidForm       Code = 210
	CodeRefreshValue      Code = 211
	CodeRefreshTTLNeeded  Code = 212

	CodeRaftInternal Code = 300

	CodeWatcherCleared    Code = 400
	CodeEventIndexCleared Code = 401
)

var messages = map[Code]string{
	CodeKeyNotFound:       "Key not found",
	CodeCompareFailed:     "Compare failed",
	CodeNotFile:           "Not a file",
	CodeNotDir:            "Not a directory",
	CodeNodeExist:         "Key already exists",
	CodeRootReadOnly:      "Root is read only",
	CodeDirNotEmpty:       "Directory not empty",
	CodeUnauthorized:      "The request requires user authentication",
	CodePrevValueRequired: "PrevValue is Required in POST form",
	CodeTTLNaN:            "The given TTL in POST form is not a number",
	CodeIndexNaN:          "The given index in POST form is not a number",
	CodeInvalidField:      "Invalid field",
	CodeInvalidForm:       "Invalid POST form",
	CodeRefreshValue:      "Value provided on refresh",
	CodeRefreshTTLNeeded:  "A TTL must be provided on refresh",
	CodeRaftInternal:      "Raft Internal Error",
	CodeWatcherCleared:    "watcher is cleared due to etcd recovery",
	CodeEventIndexCleared: "The event in requested index is outdated and cleared",
}

// Error is the answer to a client's mistake: data, not a failure of the
// server. The same command gives the same Error on every replica.
type Error struct {
	Code  Code
	Cause string
	Index uint64 // the group's frontier when the command was refused; 0 if it never reached the store
}

// Message returns the text etcd sends for the code, byte for byte.
func (e *Error) Message() string { return messages[e.Code] }

func (e *Error) Error() string {
	if e.Cause == "" {
		return e.Message()
	}
	return e.Message() + " (" + e.Cause + ")"
}
