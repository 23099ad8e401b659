package httpapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/witan-kv/witan/store"
)

// formRequest returns a request as net/http would hand it to us. It is called
// twice where two parsers are compared: a body can be read once.
func formRequest(method, query, contentType, body string) *http.Request {
	r := httptest.NewRequest(method, "/v2/keys/a", strings.NewReader(body))
	r.URL.RawQuery = query
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// checkForm compares what we read of a form with what net/http does.
func checkForm(t interface{ Fatalf(string, ...any) }, method, query, contentType, body string) {
	want := formRequest(method, strings.ReplaceAll(query, ";", "&"), contentType, body)
	wantErr := want.ParseForm()
	got := parseForm(formRequest(method, query, contentType, body))
	if (got.err != nil) != (wantErr != nil) {
		t.Fatalf("%s ?%s %q: error %v, want %v", method, query, body, got.err, wantErr)
	}
	if wantErr != nil {
		if got.err.Code != store.CodeInvalidForm || got.err.Cause != wantErr.Error() {
			t.Fatalf("%s ?%s %q: error %v, want %v", method, query, body, got.err, wantErr)
		}
		return
	}
	for p, name := range paramNames {
		if got.given[p] != want.Form.Has(name) || got.values[p] != want.Form.Get(name) {
			t.Fatalf("%s ?%s %q: %s is %q (given: %v), want %q", method, query, body,
				name, got.values[p], got.given[p], want.Form[name])
		}
	}
}

func TestFormIsWhatNetHTTPReads(t *testing.T) {
	word := rapid.SampledFrom([]string{
		"value", "v%61lue", "prevValue", "prevIndex", "ttl", "wait", "nonsense", "", "=", "&", ";", "+", "%20", "%zz", "%", "%4", "true", "7", "é", "\x00",
	})
	text := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(word, 0, 12).Draw(t, "words"), "")
	})
	rapid.Check(t, func(t *rapid.T) {
		method := rapid.SampledFrom([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}).Draw(t, "method")
		contentType := rapid.SampledFrom([]string{
			formType, "", formType + "; charset=utf-8", "Application/X-WWW-form-urlencoded", "text/plain", "a/b/c", formType + "; x",
			"multipart/form-data",
		}).Draw(t, "type")
		checkForm(t, method, text.Draw(t, "query"), contentType, text.Draw(t, "body"))
	})
}

func FuzzForm(f *testing.F) {
	f.Add("prevIndex=1;wait=x", "value=a%2Fb&ttl=+")
	f.Fuzz(func(t *testing.T, query, body string) {
		if strings.Count(query, "&")+strings.Count(query, ";")+strings.Count(body, "&") > 1000 {
			t.Skip("the standard library limits the number of parameters; we need not, we keep none we do not know")
		}
		checkForm(t, http.MethodPut, query, formType, body)
	})
}

// A body that ends early is not a shorter form.
func TestFormOfBrokenBody(t *testing.T) {
	r := formRequest(http.MethodPut, "", formType, "")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("value=half"), brokenReader{}))
	if f := parseForm(r); f.err == nil || f.err.Cause != io.ErrUnexpectedEOF.Error() {
		t.Errorf("got %v", f.err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestFormLimit(t *testing.T) {
	for _, announced := range []bool{true, false} {
		for size, ok := range map[int]bool{maxFormBytes: true, maxFormBytes + 1: false} {
			r := formRequest(http.MethodPut, "", formType, "value="+strings.Repeat("x", size-len("value=")))
			if !announced {
				r.ContentLength = -1
			}
			f := parseForm(r)
			switch {
			case ok && (f.err != nil || len(f.values[paramValue]) != size-len("value=")):
				t.Errorf("announced %v: a form of %d bytes was refused: %v", announced, size, f.err)
			case !ok && (f.err == nil || f.err.Cause != "http: POST too large"):
				t.Errorf("announced %v: a form of %d bytes was not refused: %v", announced, size, f.err)
			}
		}
	}
}

// Every parameter's fault has the code and the text of the contract's table (§1.4).
func TestParamFaults(t *testing.T) {
	tests := []struct {
		method, query string
		code          store.Code
		cause         string
	}{
		{"PUT", "prevIndex=x", 203, `invalid value for "prevIndex"`},
		{"GET", "waitIndex=x", 203, `invalid value for "waitIndex"`},
		{"GET", "recursive", 209, `invalid value for "recursive"`},
		{"GET", "sorted=2", 209, `invalid value for "sorted"`},
		{"GET", "wait=yes", 209, `invalid value for "wait"`},
		{"PUT", "dir=tRUE", 209, `invalid value for "dir"`},
		{"GET", "quorum=", 209, `invalid value for "quorum"`},
		{"GET", "stream=on", 209, `invalid value for "stream"`},
		{"PUT", "wait=true", 209, `"wait" can only be used with GET requests`},
		{"HEAD", "wait=1", 209, `"wait" can only be used with GET requests`},
		{"GET", "prevValue", 201, `"prevValue" cannot be empty`},
		{"POST", "noValueOnSuccess=x", 209, `invalid value for "noValueOnSuccess"`},
		{"DELETE", "ttl=1s", 202, `invalid value for "ttl"`},
		{"PUT", "prevExist=maybe", 209, `invalid value for prevExist`},
		{"PUT", "refresh=maybe", 209, `invalid value for refresh`},
		{"PUT", "refresh=true&ttl=1&value=x", 211, `A value was provided on a refresh`},
		{"PUT", "refresh=true", 212, `No TTL value set`},
		{"PUT", "a=%", 210, `invalid URL escape "%"`},
	}
	s := &Server{config: Config{MaxValueBytes: 100}}
	for _, tt := range tests {
		t.Run(tt.method+"?"+url.QueryEscape(tt.query), func(t *testing.T) {
			_, err := s.parseParams(formRequest(tt.method, tt.query, "", ""))
			got, ok := err.(*store.Error) //nolint:errorlint // it must be one, not wrap one
			if !ok || got.Code != tt.code || got.Cause != tt.cause || got.Index != 0 {
				t.Errorf("got %v, want %d %s", err, tt.code, tt.cause)
			}
		})
	}
}

func TestSwitches(t *testing.T) {
	for _, text := range []string{"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"} {
		f := parseForm(formRequest("GET", "wait="+text, "", ""))
		want, _ := strconv.ParseBool(text)
		if got := f.bool(paramWait); got != want || f.err != nil {
			t.Errorf("%s: got %v, %v", text, got, f.err)
		}
	}
}
