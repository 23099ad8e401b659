package main

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
)

// generator makes random sequences. It knows nothing of the answers: the same
// seed always gives the same steps. A small universe of keys and values makes
// them meet, and templates stand for the indexes the servers will give.
type generator struct {
	*rand.Rand
	groups int
	steps  []step
	left   int // requests still to make
	serial int // names of watches and of directories for expiry
}

// generate returns the random script of a seed with so many requests.
func generate(seed uint64, requests, groups int) script {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), groups: groups, left: requests}
	for g.left > 0 {
		switch n := g.IntN(1000); {
		case n < 1:
			g.expiry()
		case n < 60:
			g.watchBatch()
		default:
			g.request()
		}
	}
	return script{name: fmt.Sprintf("seed %d", seed), steps: g.steps}
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) pick(all ...string) string { return all[g.IntN(len(all))] }

func (g *generator) emit(s step) {
	g.steps = append(g.steps, s)
	if s.verb == "" || s.verb == "watch" {
		g.left--
	}
}

// key returns a key of the universe, decoded.
func (g *generator) key() string {
	if g.chance(3) {
		return "/"
	}
	depth := 1 + min(g.IntN(3), g.IntN(4))
	var b strings.Builder
	b.WriteString("/" + g.pick("a", "a", "b", "c", "_h", "dir", "x y", "ü"))
	for range depth - 1 {
		b.WriteString("/" + g.pick("a", "a", "b", "c", "_h", "_", "x y", "é+", "50%", "a/b"))
	}
	if depth > 3 {
		b.WriteString("/deep/er/still")
	}
	return b.String()
}

// path spells the raw path of a key, mostly plainly, now and then as oddly as
// clients have been seen to.
func (g *generator) path(key string) string {
	p := (&url.URL{Path: key}).EscapedPath()
	switch g.IntN(40) {
	case 0:
		p = "/" + strings.ReplaceAll(strings.TrimPrefix(p, "/"), "/", "%2F")
	case 1:
		p = strings.ReplaceAll(p, "a", "%61")
	case 2:
		p = strings.ReplaceAll(p, "/", "//")
	case 3:
		p = strings.Replace(p, "/", "/./", 1)
	case 4:
		p = "/zz/.." + p
	case 5, 6, 7, 8:
		p = strings.TrimSuffix(p, "/") + "/"
	case 9:
		p += "//"
	case 10:
		p = "/%2e%2e" + p
	case 11:
		p = strings.TrimSuffix(p, "/") + "/${name " + key + "}"
	}
	if key == "/" && g.chance(30) {
		return keysPrefix
	}
	return keysPrefix + p
}

func (g *generator) value() string {
	return g.pick("v0", "v0", "v1", "v1", "v2", "", "a b", "<&>", "é\u2028", "\"\\\n\t", "\xff\xfe", "x+y=z&", "null", strings.Repeat("long ", 300))
}

// params collects parameters on their way to the query or the body.
type params struct {
	g           *generator
	query, form []string
}

// put adds a parameter to one of the two, sometimes to both, with another
// value in the query that the body's must override.
func (p *params) put(name, value string) {
	pair := name + "=" + escapeParameter(value)
	switch n := p.g.IntN(20); {
	case n < 8:
		p.query = append(p.query, pair)
	case n < 19:
		p.form = append(p.form, pair)
	default:
		p.query, p.form = append(p.query, name+"=true"), append(p.form, pair)
	}
}

// inQuery adds a parameter to the query, where DELETE and GET look for it.
func (p *params) inQuery(name, value string) {
	p.query = append(p.query, name+"="+escapeParameter(value))
}

// escapeParameter escapes a value but for the templates in it.
func escapeParameter(value string) string {
	if strings.HasPrefix(value, "${") {
		return value
	}
	return url.QueryEscape(value)
}

func (p *params) request(method, path string) request {
	r := request{method: method, target: path, body: strings.Join(p.form, "&")}
	if len(p.query) > 0 {
		r.target += "?" + strings.Join(p.query, "&")
	}
	return r
}

// boolean returns one of the spellings of on or off.
func (g *generator) boolean(on bool) string {
	if on {
		return g.pick("true", "true", "true", "1", "t", "T", "TRUE", "True")
	}
	return g.pick("false", "false", "0", "f", "F", "FALSE", "False")
}

// index returns something to compare modifiedIndex with.
func (g *generator) index(key string) string {
	switch g.IntN(8) {
	case 0:
		return "${old " + key + "}"
	case 1:
		return "0"
	case 2:
		return g.pick("999999999999", "18446744073709551615", "${next "+key+"}")
	default:
		return "${mod " + key + "}"
	}
}

// request emits one request of any kind.
func (g *generator) request() {
	key := g.key()
	p := &params{g: g}
	var r request
	switch n := g.IntN(100); {
	case n < 46:
		r = g.write(p, key)
	case n < 53:
		if g.chance(60) {
			p.put("value", g.value())
		}
		g.options(p)
		r = p.request("POST", g.path(key))
	case n < 67:
		r = g.remove(p, key)
	case n < 94:
		r = g.read(p, key)
	case n < 97:
		r = p.request(g.pick("OPTIONS", "PATCH", "TRACE", "LOCK"), g.path(key))
	default:
		r = p.request("GET", g.pick("/version", "/health", "/v2/machines", "/v2/members", "/v2/members/leader",
			"/v2/members/nobody", "/v2/stats/store", "/v2/stats/leader", "/v2", "/", "/v2/keysfoo", "/v2/nothing"))
	}
	g.headers(&r)
	g.emit(step{req: r})
}

// write makes a PUT of one of its four meanings.
func (g *generator) write(p *params, key string) request {
	if g.chance(85) {
		p.put("value", g.value())
	}
	switch g.IntN(10) {
	case 0, 1:
		p.put("prevExist", g.boolean(true))
	case 2:
		p.put("prevExist", g.boolean(false))
	case 3, 4:
		p.put("prevIndex", g.index(key))
	case 5:
		p.put("prevValue", g.pick("v0", "v1", "v2", "a b", "<&>"))
	case 6:
		p.put("prevValue", g.pick("v0", "v1"))
		p.put("prevIndex", g.index(key))
	}
	g.options(p)
	return p.request("PUT", g.path(key))
}

// options adds what PUT and POST have in common, and now and then nonsense.
func (g *generator) options(p *params) {
	if g.chance(12) {
		p.put("dir", g.boolean(g.chance(80)))
	}
	if g.chance(12) {
		p.put("ttl", g.pick("100", "1000", "86400", "315360000", ""))
	}
	if g.chance(4) {
		p.put("refresh", g.boolean(g.chance(80)))
		p.put("ttl", g.pick("100", "500"))
	}
	if g.chance(3) {
		p.put("noValueOnSuccess", g.boolean(g.chance(80)))
	}
	g.nonsense(p)
}

func (g *generator) remove(p *params, key string) request {
	switch g.IntN(8) {
	case 0, 1, 2:
		p.inQuery("recursive", g.boolean(g.chance(90)))
	case 3:
		p.inQuery("dir", g.boolean(g.chance(90)))
	case 4:
		p.inQuery("prevIndex", g.index(key))
	case 5:
		p.inQuery("prevValue", g.pick("v0", "v1", "v2"))
	}
	if g.chance(5) { // a body is ignored
		p.form = append(p.form, "recursive=true&prevValue=nothing")
	}
	g.nonsense(p)
	return p.request("DELETE", g.path(key))
}

func (g *generator) read(p *params, key string) request {
	if g.chance(35) {
		p.inQuery("recursive", g.boolean(g.chance(90)))
	}
	if g.chance(25) {
		p.inQuery("sorted", g.boolean(g.chance(90)))
	}
	if g.chance(15) {
		p.inQuery("quorum", g.boolean(g.chance(60)))
	}
	if g.chance(5) {
		p.inQuery("wait", g.boolean(false))
	}
	g.nonsense(p)
	method := "GET"
	if g.chance(7) {
		method = "HEAD"
	}
	return p.request(method, g.path(key))
}

// nonsense adds, rarely, parameters that are wrong, empty, unknown or in the
// wrong place.
func (g *generator) nonsense(p *params) {
	if !g.chance(6) {
		return
	}
	for range 1 + g.IntN(2) {
		switch g.IntN(5) {
		case 0:
			p.inQuery(g.pick("recursive", "sorted", "dir", "quorum", "stream", "prevExist", "refresh", "noValueOnSuccess"),
				g.pick("", "yes", "maybe", "TRue", "2", " true", "tRUE"))
		case 1:
			p.put(g.pick("prevIndex", "waitIndex", "ttl"), g.pick("-1", "x", "1.5", " 1", "+1", "18446744073709551616", "0x10", "1_0"))
		case 2:
			p.inQuery("prevValue", "")
		case 3:
			p.put(g.pick("consistent", "timeout", "Value", "unknown"), "x")
		default:
			p.query = append(p.query, g.pick("recursive", "sorted", "a;b", "%zz=1", "&&", "=", "value=%", "wait=x"))
		}
	}
}

// headers gives some requests what clients send, and some bodies a type that
// makes the server ignore them.
func (g *generator) headers(r *request) {
	add := func(line string) { r.header = append(r.header, line) }
	if g.chance(3) {
		add("Authorization: Basic cm9vdDpzZWNyZXQ=")
	}
	if g.chance(2) {
		add("Origin: http://example.com")
	}
	if r.body == "" || !g.chance(8) {
		return
	}
	add(g.pick("Content-Type: application/x-www-form-urlencoded; charset=UTF-8", "Content-Type: APPLICATION/X-WWW-FORM-URLENCODED",
		"Content-Type: text/plain", "Content-Type: application/json", "Content-Type:", "Content-Type: multipart/form-data",
		"Content-Type: ;;", "Content-Type: application/x-www-form-urlencoded;", "Transfer-Encoding: chunked"))
}

// watchBatch opens a few watches, makes some requests and compares what the
// watches saw.
func (g *generator) watchBatch() {
	var open []string
	for range 1 + g.IntN(3) {
		g.serial++
		name := fmt.Sprintf("w%d", g.serial)
		p := &params{g: g}
		p.inQuery("wait", g.boolean(true))
		if g.chance(60) {
			p.inQuery("recursive", g.boolean(true))
		}
		if g.chance(40) {
			p.inQuery("stream", g.boolean(true))
		}
		key := g.key()
		if g.chance(50) {
			p.inQuery("waitIndex", g.waitIndex(key))
		}
		r := p.request("GET", g.path(key))
		g.emit(step{verb: "watch", names: []string{name}, req: r})
		open = append(open, name)
	}
	for range 2 + g.IntN(10) {
		g.request()
	}
	g.emit(step{verb: "events", names: open})
	g.emit(step{verb: "close", names: open})
}

// waitIndex returns an index in the past, the present or the near future. With
// several groups indexes have holes, so only such are used as follow an event.
func (g *generator) waitIndex(key string) string {
	back := g.IntN(40)
	switch n := g.IntN(12); {
	case n < 2:
		return "${mod " + key + "}"
	case n < 4:
		return "${next " + key + "}"
	case n < 7:
		return fmt.Sprintf("${back %d}", back)
	case n < 9:
		return fmt.Sprintf("${after %d}", back)
	case n < 10:
		return "0"
	case g.groups > 1:
		return "${last+1}"
	case n < 11:
		return fmt.Sprintf("${last+%d}", 1+g.IntN(4))
	default:
		return g.pick("${first}", "${first}", "${back 990}", "${back 1100}")
	}
}

// expiry makes a few keys with short lives in a directory, under the eyes of a
// watcher, and waits for each to go. They are made in the order of their names,
// so that both servers expire them in one order, and live long enough for
// nothing to expire while the others are still being made; the one with ttl=0
// comes last.
func (g *generator) expiry() {
	g.serial++
	name := fmt.Sprintf("e%d", g.serial)
	dir := fmt.Sprintf("%s/expiry%d", keysPrefix, g.IntN(3))
	g.emit(step{verb: "watch", names: []string{name}, req: request{method: "GET", target: dir + "?wait=true&recursive=true&stream=true"}})
	put := func(path, query, body string) {
		g.emit(step{req: request{method: "PUT", target: dir + path + query, body: body}})
	}
	put("/_k1", "", "value=v&ttl=2")
	put("/k2", "?dir=true", "ttl=2")
	put("/k2/child", "", "value=v&ttl=500")
	if g.chance(50) {
		put("/k3", "", "value=v")
		put("/k3", "?prevExist=true&refresh=true", "ttl=2")
	} else {
		put("/k3", "", "value=v&ttl=2")
	}
	put("/k4", "", "value=v&ttl=0")
	for _, key := range []string{"/k4", "/_k1", "/k2", "/k3"} {
		g.emit(step{verb: "expire", req: request{method: "GET", target: dir + key}})
	}
	g.emit(step{verb: "events", names: []string{name}})
	g.emit(step{verb: "close", names: []string{name}})
	g.emit(step{req: request{method: "DELETE", target: dir + "?recursive=true"}})
}
