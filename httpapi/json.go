package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// message is the error shape of everything but the key space (contract §3.2).
type message struct {
	Message string `json:"message"`
}

// writeMessage answers with an error outside the key space.
func writeMessage(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, message{text}, "")
}

// writeJSON answers with v, which must be of a type that always encodes, and
// end: etcd ends some of its documents with a newline and others with nothing.
func writeJSON(w http.ResponseWriter, status int, v any, end string) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // recoverPanic tells
	}
	body = append(body, end...)
	h := w.Header()
	h[headerContentType] = jsonType
	h[headerContentLength] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	writeBody(w, body)
}

// formatID writes an id as clients read it: lower-case hex without leading
// zeros, nothing for an id that is not known.
func formatID(id uint64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatUint(id, 16)
}
