package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/witan-kv/witan/store"
)

// A param is a parameter that the key space knows. Others are ignored.
type param uint8

const (
	paramPrevIndex param = iota
	paramWaitIndex
	paramRecursive
	paramSorted
	paramWait
	paramDir
	paramQuorum
	paramStream
	paramPrevValue
	paramNoValueOnSuccess
	paramTTL
	paramPrevExist
	paramRefresh
	paramValue
	paramCount
)

var paramNames = [paramCount]string{
	paramPrevIndex:        "prevIndex",
	paramWaitIndex:        "waitIndex",
	paramRecursive:        "recursive",
	paramSorted:           "sorted",
	paramWait:             "wait",
	paramDir:              "dir",
	paramQuorum:           "quorum",
	paramStream:           "stream",
	paramPrevValue:        "prevValue",
	paramNoValueOnSuccess: "noValueOnSuccess",
	paramTTL:              "ttl",
	paramPrevExist:        "prevExist",
	paramRefresh:          "refresh",
	paramValue:            "value",
}

func (p param) quoted() string { return strconv.Quote(paramNames[p]) }

func paramNamed(name string) (param, bool) {
	for p, n := range paramNames {
		if n == name {
			return param(p), true
		}
	}
	return 0, false
}

// form is what a request says in its query and its form body: of each
// parameter the first value, the body's before the query's (contract §1.3).
// What can be wrong with it is kept in err, the first fault only, so that
// whoever asks for one parameter after the other looks at err once.
//
// It reads what http.Request.ParseForm would, without making maps of it, and
// with one difference: a semicolon in a query separates parameters, as it did
// when etcd 2.3 was built.
type form struct {
	err    *store.Error
	given  [paramCount]bool
	values [paramCount]string
}

// maxFormBytes is the longest form body (contract §1.3).
const maxFormBytes = 10 << 20

var (
	errFormTooLarge = errors.New("http: POST too large")
	errFormTooSlow  = errors.New("the body of the request took too long")
)

const formType = "application/x-www-form-urlencoded"

func parseForm(r *http.Request) form {
	var f form
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		body, err := formBody(r)
		if err == nil {
			err = f.scan(body)
		}
		if err != nil {
			f.fail(store.CodeInvalidForm, err.Error())
			return f
		}
	}
	if r.URL.RawQuery != "" {
		if err := f.scan(strings.ReplaceAll(r.URL.RawQuery, ";", "&")); err != nil {
			f.fail(store.CodeInvalidForm, err.Error())
		}
	}
	return f
}

// formBody returns the request's body if it is a form and "" if it is anything
// else. A media type that cannot be understood is an error.
func formBody(r *http.Request) (string, error) {
	contentType := r.Header.Get("Content-Type")
	if contentType == "" {
		return "", nil
	}
	if contentType != formType {
		mediaType, _, err := mime.ParseMediaType(contentType)
		if mediaType != formType || err != nil {
			return "", err
		}
	}
	if r.ContentLength > maxFormBytes {
		// Read it all the same: a client that still sends would not see the answer.
		if _, err := io.CopyN(io.Discard, r.Body, maxFormBytes+1); err != nil {
			return "", bodyError(err)
		}
		return "", errFormTooLarge
	}
	return readBody(r)
}

func readBody(r *http.Request) (string, error) {
	buf := takeBuffer()
	defer buf.release()
	if err := buf.readFrom(io.LimitReader(r.Body, maxFormBytes+1), int(r.ContentLength)); err != nil {
		return "", bodyError(err)
	}
	if len(buf.b) > maxFormBytes {
		return "", errFormTooLarge
	}
	return string(buf.b), nil
}

// bodyError says what clients are told of a body that could not be read.
func bodyError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errFormTooSlow
	}
	return err
}

// scan takes in the parameters of text that are not given yet.
func (f *form) scan(text string) error {
	for rest := text; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return formError(text)
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil || strings.IndexByte(pair, ';') >= 0 {
			return formError(text)
		}
		if p, ok := paramNamed(name); ok && !f.given[p] {
			f.given[p], f.values[p] = true, value
		}
	}
	return nil
}

// formError returns what the standard library says about a broken form: of
// several faults it does not always report the first.
func formError(text string) error {
	_, err := url.ParseQuery(text)
	return err
}

func (f *form) fail(code store.Code, cause string) {
	if f.err == nil {
		f.err = &store.Error{Code: code, Cause: cause}
	}
}

// uint returns an index, 0 if it is not given.
func (f *form) uint(p param) uint64 {
	if !f.given[p] {
		return 0
	}
	n, err := strconv.ParseUint(f.values[p], 10, 64)
	if err != nil {
		f.fail(store.CodeIndexNaN, "invalid value for "+p.quoted())
	}
	return n
}

// bool returns a switch, false if it is not given. An empty value is an error.
func (f *form) bool(p param) bool {
	if !f.given[p] {
		return false
	}
	on, err := strconv.ParseBool(f.values[p])
	if err != nil {
		f.fail(store.CodeInvalidField, "invalid value for "+p.quoted())
	}
	return on
}

// option returns a switch that may be absent. Its fault is spelled without
// quotes, as etcd does.
func (f *form) option(p param) (on, given bool) {
	if !f.given[p] {
		return false, false
	}
	on, err := strconv.ParseBool(f.values[p])
	if err != nil {
		f.fail(store.CodeInvalidField, "invalid value for "+paramNames[p])
	}
	return on, true
}

// seconds returns a TTL. An empty one means none.
func (f *form) seconds(p param) (ttl int64, given bool) {
	if f.values[p] == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(f.values[p], 10, 64)
	if err != nil || n > store.MaxTTL {
		f.fail(store.CodeTTLNaN, "invalid value for "+p.quoted())
		return 0, false
	}
	return int64(n), true
}
