package store

import (
	"encoding/binary"
	"fmt"
)

// commandFormat is the first byte of an encoded Command. A member that does
// not know the format of an entry cannot apply it and must not guess.
const commandFormat = 1

// What an encoded command holds beside its operation. The bits are part of the
// log format, like the numbers of the operations.
const (
	flagDir = 1 << iota
	flagRecursive
	flagRefresh
	flagTTL
	flagValue
	flagPrevValue
	flagPrevIndex
	flagFloor
	flagOrigin
	flagsEnd
)

// Encode returns the command as a log entry.
func (c *Command) Encode() []byte {
	return c.AppendTo(make([]byte, 0, 48+len(c.Key.path)+len(c.Value)+len(c.PrevValue)))
}

// AppendTo appends the command as a log entry to b.
func (c *Command) AppendTo(b []byte) []byte {
	flags := c.flags()
	b = append(b, commandFormat, byte(c.Op))
	b = binary.AppendUvarint(b, flags)
	b = appendText(b, c.Key.path)
	if flags&flagValue != 0 {
		b = appendText(b, c.Value)
	}
	if flags&flagPrevValue != 0 {
		b = appendText(b, c.PrevValue)
	}
	if flags&flagPrevIndex != 0 {
		b = binary.AppendUvarint(b, c.PrevIndex)
	}
	if flags&flagTTL != 0 {
		b = binary.AppendUvarint(b, uint64(c.TTL))
		b = binary.AppendVarint(b, c.Expiration)
	}
	if flags&flagFloor != 0 {
		b = binary.AppendUvarint(b, c.Floor)
	}
	if flags&flagOrigin != 0 {
		b = binary.AppendUvarint(b, c.Origin)
		b = binary.AppendUvarint(b, c.Boot)
		b = binary.AppendUvarint(b, c.Seq)
		b = binary.AppendUvarint(b, c.Settled)
	}
	if c.Op == OpAdvance {
		b = binary.AppendVarint(b, c.Clock)
		b = binary.AppendVarint(b, c.Step)
	}
	return b
}

func (c *Command) flags() uint64 {
	var flags uint64
	set := func(flag uint64, on bool) {
		if on {
			flags |= flag
		}
	}
	set(flagDir, c.Dir)
	set(flagRecursive, c.Recursive)
	set(flagRefresh, c.Refresh)
	set(flagTTL, c.HasTTL)
	set(flagValue, c.Value != "")
	set(flagPrevValue, c.PrevValue != "")
	set(flagPrevIndex, c.PrevIndex != 0)
	set(flagFloor, c.Floor != 0)
	set(flagOrigin, c.Origin != 0)
	return flags
}

// Decode returns the command that a log entry holds. It accepts what AppendTo
// writes and refuses everything else, with an error that says what is wrong:
// another format, an unknown operation, a key that is not canonical, a TTL out
// of range, bytes missing or left over. The strings of the command share one
// copy of the entry, so b may be used again.
func Decode(b []byte) (Command, error) {
	in := cursor{rest: string(b)}
	if format := in.byte(); in.err == nil && format != commandFormat {
		return Command{}, fmt.Errorf("store: decode command: format %d is unknown", format)
	}
	c := Command{Op: Op(in.byte())}
	flags := in.uvarint()
	c.Key.path = in.text()
	if flags&flagValue != 0 {
		c.Value = in.text()
	}
	if flags&flagPrevValue != 0 {
		c.PrevValue = in.text()
	}
	if flags&flagPrevIndex != 0 {
		c.PrevIndex = in.uvarint()
	}
	if flags&flagTTL != 0 {
		c.TTL = int64(in.uvarint())
		c.Expiration = in.varint()
	}
	if flags&flagFloor != 0 {
		c.Floor = in.uvarint()
	}
	if flags&flagOrigin != 0 {
		c.Origin, c.Boot, c.Seq, c.Settled = in.uvarint(), in.uvarint(), in.uvarint(), in.uvarint()
	}
	if c.Op == OpAdvance {
		c.Clock, c.Step = in.varint(), in.varint()
	}
	c.Dir, c.Recursive = flags&flagDir != 0, flags&flagRecursive != 0
	c.Refresh, c.HasTTL = flags&flagRefresh != 0, flags&flagTTL != 0
	if err := in.end(); err != nil {
		return Command{}, fmt.Errorf("store: decode command: %w", err)
	}
	if err := c.check(flags); err != nil {
		return Command{}, fmt.Errorf("store: decode command: %w", err)
	}
	return c, nil
}

// check returns what is wrong with a command that was read without trouble.
func (c *Command) check(flags uint64) error {
	switch {
	case c.Op < OpSet || c.Op > OpTick:
		return fmt.Errorf("operation %d is unknown", c.Op)
	case flags >= flagsEnd:
		return fmt.Errorf("flags %#x are unknown", flags)
	case !canonical(c.Key.path):
		return fmt.Errorf("key %q is not canonical", c.Key.path)
	case c.TTL < 0 || c.TTL > MaxTTL:
		return fmt.Errorf("TTL %d is out of range", c.TTL)
	case c.Clock < 0 || c.Step < 0:
		return fmt.Errorf("clock %d + %d is out of range", c.Clock, c.Step)
	}
	return nil
}
