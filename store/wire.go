package store

import (
	"encoding/binary"
	"errors"
	"strings"
)

// errMalformed is what every decoder of this package says about bytes that
// no encoder of it can have written.
var errMalformed = errors.New("malformed")

// cursor reads varints and texts from a string, front to back. After the
// first read that does not fit, err is set and all reads return zero values,
// so that a decoder checks once at its end.
type cursor struct {
	rest string
	err  error
}

func (c *cursor) fail() {
	c.err = errMalformed
	c.rest = ""
}

func (c *cursor) byte() byte {
	if c.rest == "" {
		c.fail()
		return 0
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b
}

func (c *cursor) uvarint() uint64 {
	var n uint64
	for i := 0; i < len(c.rest) && i < binary.MaxVarintLen64; i++ {
		b := c.rest[i]
		if i == binary.MaxVarintLen64-1 && b > 1 {
			break
		}
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.rest = c.rest[i+1:]
			return n
		}
	}
	c.fail()
	return 0
}

func (c *cursor) varint() int64 {
	n := c.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

// text reads a length and as many bytes. The result shares the memory of the
// string that is being read.
func (c *cursor) text() string {
	n := c.uvarint()
	if n > uint64(len(c.rest)) {
		c.fail()
		return ""
	}
	s := c.rest[:n]
	c.rest = c.rest[n:]
	return s
}

// end returns the first error, or one if anything is left over.
func (c *cursor) end() error {
	if c.err == nil && c.rest != "" {
		c.fail()
	}
	return c.err
}

// appendText appends s with its length in front.
func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// canonical reports whether path is what a Key may hold: empty for the root,
// otherwise components that are neither empty nor "." nor "..", each after a
// slash.
func canonical(path string) bool {
	for path != "" {
		if path[0] != '/' {
			return false
		}
		name := path[1:]
		if slash := strings.IndexByte(name, '/'); slash >= 0 {
			name = name[:slash]
		}
		if name == "" || name == "." || name == ".." {
			return false
		}
		path = path[1+len(name):]
	}
	return true
}
