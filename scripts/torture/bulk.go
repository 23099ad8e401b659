package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// bulk is data beside that of the load, so that members have files of all kinds: hidden from listings and from watches, and never changed.
type bulk struct {
	sums map[string]string // of values, by key
}

const (
	bulkDirs   = 8
	bulkPerDir = 12
)

// writeBulk writes values of 16 KiB, and in each directory one so large that a store keeps it elsewhere.
func (t *trial) writeBulk(ctx context.Context) (*bulk, error) {
	b := &bulk{sums: map[string]string{}}
	for dir := range bulkDirs {
		for n := range bulkPerDir {
			size := 16 << 10
			if n == 0 {
				size = 1 << 20
			}
			key := fmt.Sprintf("/_bulk%d/%d", dir, n)
			value := strings.Repeat(fmt.Sprintf("%x ", sha256.Sum256([]byte(key))), size/65+1)[:size]
			if err := b.write(ctx, t.urls()[0], key, value); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// write sets a key through a member. What was refused may have been done all the same.
func (b *bulk) write(ctx context.Context, member, key, value string) error {
	delete(b.sums, key)
	form := url.Values{"value": {value}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, member+"/v2/keys"+key, strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := answered(req); err != nil {
		return fmt.Errorf("write bulk: %w", err)
	}
	b.sums[key] = fmt.Sprintf("%x", sha256.Sum256([]byte(value)))
	return nil
}

var errMissing = errors.New("is not there")

func answered(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusNotFound {
		return nil, errMissing
	}
	if err == nil && resp.StatusCode > http.StatusCreated {
		err = fmt.Errorf("%s: %.200s", resp.Status, text)
	}
	return text, err
}

// read reads everything from the member's own replica, and says what is not as it was written, and what it could not tell.
func (b *bulk) read(ctx context.Context, m *procs.Member) (wrong, unread []string, err error) {
	for key, sum := range b.sums {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Client+"/v2/keys"+key, nil)
		if err != nil {
			return nil, nil, err
		}
		text, err := answered(req)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil && errors.Is(err, errMissing) {
			wrong = append(wrong, fmt.Sprintf("%s: %v", key, err))
			continue
		}
		if err != nil {
			unread = append(unread, fmt.Sprintf("%s: %v", key, err))
			continue
		}
		var answer struct {
			Node struct {
				Value string `json:"value"`
			} `json:"node"`
		}
		if err := json.Unmarshal(text, &answer); err != nil || fmt.Sprintf("%x", sha256.Sum256([]byte(answer.Node.Value))) != sum {
			wrong = append(wrong, key+" is not what was written")
		}
	}
	return wrong, unread, nil
}
