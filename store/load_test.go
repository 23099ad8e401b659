package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"
)

// FuzzBackup reads files whose checksums are right and whose content is
// anybody's: they must be refused, or be a tree. Others are refused for their
// checksums, which TestBackupDamaged shows.
func FuzzBackup(f *testing.F) {
	var good []byte
	for _, n := range []SavedNode{
		{Key: ParseKey("/d"), Dir: true, CreatedIndex: 4, ModifiedIndex: 5},
		{Key: ParseKey("/f"), Value: "v", CreatedIndex: 4, ModifiedIndex: 4, HasTTL: true, Left: 1e9, Expiration: -1},
		{Key: ParseKey("/d/f"), Value: "v", CreatedIndex: 9, ModifiedIndex: 9},
	} {
		good = n.appendTo(good)
	}
	f.Add(good, true)
	f.Add(good[:len(good)-1], true)
	f.Add(bytes.Repeat(good, 2), true)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x00, 0x01, 0x00, 0x00}, false)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, content []byte, pack bool) {
		r, err := NewBackupReader(bytes.NewReader(forged(t, content, pack)))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		dirs := map[Key]bool{{}: true}
		for {
			n, err := r.Next()
			if errors.Is(err, io.EOF) {
				t.Fatal("the end says that there are no nodes")
			}
			if errors.Is(err, ErrBackupDamaged) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !dirs[n.Key.Parent()] || dirs[n.Key] || n.Left < 0 || n.ModifiedIndex > 10 || n.CreatedIndex > n.ModifiedIndex {
				t.Fatalf("%+v among %v", n, dirs)
			}
			dirs[n.Key] = n.Dir
		}
	})
}

// forged is a backup with one chunk of the given content, which is packed
// first or taken for what a packer has made, and an end that fits but for the
// number of nodes.
func forged(t *testing.T, content []byte, pack bool) []byte {
	t.Helper()
	var file bytes.Buffer
	out, err := newBackupWriter(&file, BackupInfo{Index: 10, Groups: 1})
	if err != nil {
		t.Fatal(err)
	}
	if out.chunk = content; pack {
		err = out.flush()
	} else {
		head := chunkHead{number: 1, packed: uint32(len(content)), unpacked: 100, sum: checksum(content)}
		var block []byte
		if block, err = makeBlock(blockChunk, head.encode()); err == nil {
			err = errors.Join(out.write(block), out.write(content))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	end, err := makeJSONBlock(blockEnd, backupEnd{Nodes: 1 << 40, SHA256: hex.EncodeToString(out.sum.Sum(nil))})
	if err != nil {
		t.Fatal(err)
	}
	return append(file.Bytes(), end...)
}
