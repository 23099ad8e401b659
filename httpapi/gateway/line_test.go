package gateway

import (
	"net/url"
	"slices"
	"testing"
	"time"
)

var a, b, c, d = parse("http://a:1"), parse("http://b:1"), parse("http://c:1"), parse("http://d:1")

func expectLine(t *testing.T, l *line, want ...url.URL) {
	t.Helper()
	if got := l.candidates(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", texts(got), texts(want))
	}
}

// TestLine sends members to the end and back.
func TestLine(t *testing.T) {
	l := &line{wait: time.Hour, endpoints: []endpoint{{url: a}, {url: b}, {url: c}}}
	expectLine(t, l, a, b, c)
	l.fail(a)
	expectLine(t, l, b, c, a)
	l.fail(a) // is there already
	l.fail(d) // is none of them
	expectLine(t, l, b, c, a)
	l.fail(b)
	expectLine(t, l, c, a, b)
	l.endpoints = append(l.endpoints, endpoint{url: d})
	expectLine(t, l, c, d, a, b) // one that is new is better than one that failed
	l.fail(c)
	l.fail(d)
	expectLine(t, l, a, b, c, d)
	l.fail(a) // has failed already: many requests do at once
	expectLine(t, l, a, b, c, d)

	l.wait = 0 // time has passed
	l.fail(a)
	expectLine(t, l, b, c, d, a)
}

// TestUpdate keeps the places of those that stay.
func TestUpdate(t *testing.T) {
	l := &line{wait: time.Hour, endpoints: []endpoint{{url: a}, {url: b}, {url: c}}}
	if l.update([]url.URL{c, a, b}) {
		t.Error("nothing has changed")
	}
	if !l.update([]url.URL{c, a}) {
		t.Error("one less is a change")
	}
	expectLine(t, l, a, c)
	if !l.update([]url.URL{d, a}) {
		t.Error("another one is a change")
	}
	l.fail(d)
	expectLine(t, l, a, d)
}

// TestSpread has gateways that begin with different members.
func TestSpread(t *testing.T) {
	first := map[url.URL]int{}
	for range 300 {
		l := &line{}
		l.update([]url.URL{a, b, c})
		first[l.candidates()[0]]++
	}
	for _, u := range []url.URL{a, b, c} {
		if first[u] < 50 {
			t.Errorf("%s is first in %d of 300", u.String(), first[u])
		}
	}
}
