package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
)

// scaleSample is what one kind of read costs in a tree of some size.
type scaleSample struct {
	Kind string `json:"kind"`
	Size int    `json:"size"` // what it is for is said in scaleKinds
	turn
	Rate  float64 `json:"rate"` // requests a second
	costs         // for each request
}

// The kinds of reads.
const (
	readAmong = "GET of one of so many keys"
	readDeep  = "GET of a key so many levels down"
	readWide  = "GET of a key in a directory of so many"
	readList  = "Listing of a directory of so many keys"
)

func scaleKinds() []string { return []string{readAmong, readWide, readDeep, readList} }

// The trees that reads are measured in, beside the one of --scale-keys.
const (
	scaleValueSize = 100 // bytes
	wideKeys       = 100_000
	deepLevels     = 20
)

func listSizes() []int { return []int{10, 100, 1000, 10_000} }

func widePath() string      { return "/wide/key-{n}" }
func deepPath() string      { return strings.Repeat("/deep", deepLevels-1) + "/key-{n}" }
func listPath(n int) string { return fmt.Sprintf("/list-%d", n) }

// runScale measures what reads cost in larger and larger trees.
func (s *session) runScale(ctx context.Context) error {
	u := s.base()
	u.ValueSize = scaleValueSize
	if err := s.withTargets(ctx, s.stores(), u, func(targets []*target) error { return s.runTrees(ctx, targets) }); err != nil {
		return err
	}
	return s.withTargets(ctx, s.stores(), u, func(targets []*target) error {
		for _, keys := range s.scaleKeys {
			if err := s.runAmong(ctx, targets, keys); err != nil {
				return err
			}
		}
		return nil
	})
}

// runTrees measures reads of trees that are wide or deep, and listings.
func (s *session) runTrees(ctx context.Context, targets []*target) error {
	trees := []struct {
		kind       string
		size, keys int
		write      string
		read       string
	}{
		{readWide, wideKeys, wideKeys, widePath(), widePath()},
		{readDeep, deepLevels, presetKeys, deepPath(), deepPath()},
	}
	for _, n := range listSizes() {
		tree := trees[0]
		tree.kind, tree.size, tree.keys = readList, n, n
		tree.write, tree.read = listPath(n)+"/key-{n}", listPath(n)
		trees = append(trees, tree)
	}
	for _, tree := range trees {
		for _, t := range targets {
			write := shape{method: "PUT", path: tree.write, form: "value={v}"}
			if err := t.fillWith(ctx, write, new(atomic.Uint64), uint64(tree.keys)); err != nil {
				return err
			}
		}
		read := shape{method: "GET", path: tree.read}
		if err := s.runReads(ctx, targets, scaleSample{Kind: tree.kind, Size: tree.size}, read, tree.keys); err != nil {
			return err
		}
	}
	return nil
}

// runAmong adds keys until there are so many and measures reads of any of
// them.
func (s *session) runAmong(ctx context.Context, targets []*target, keys int) error {
	var able []*target
	for _, t := range targets {
		if !s.holds(t.product, keys) {
			continue
		}
		able = append(able, t)
		fmt.Fprintf(s.progress, "%s: %s is filled with %d keys\n", scaleName, t.product.name, keys)
		if err := t.fill(ctx, uint64(keys)); err != nil {
			return err
		}
		if err := s.weigh(ctx, t, keys); err != nil {
			return err
		}
	}
	return s.runReads(ctx, able, scaleSample{Kind: readAmong, Size: keys}, getKey(), keys)
}

// runReads measures read, which is for any of so many keys. sample says what
// it is.
func (s *session) runReads(ctx context.Context, targets []*target, sample scaleSample, read shape, keys int) error {
	p := s.pace(false)
	what := fmt.Sprintf("%s: %s, %d", scaleName, sample.Kind, sample.Size)
	return s.inTurn(what, p.rounds, targets, func(t *target, round int) error {
		cs, err := dialAll(ctx, t.addrs(), usualConnections)
		if err != nil {
			return err
		}
		defer cs.close()
		cs.prepare([]shape{read}, true, 0, func(i int) picker { return anyOf(uint64(keys), uint64(round)<<32|uint64(i)) })
		out, used, err := t.drive(ctx, cs, p)
		if err != nil {
			return err
		}
		if out.refused > 0 {
			return fmt.Errorf("%d reads were answered with status %d", out.refused, out.example)
		}
		sample := sample
		sample.turn = turn{t.product.name, round}
		sample.Rate = float64(out.latency.total) / out.elapsed.Seconds()
		sample.costs = used.costs(out.latency.total, out.elapsed)
		return keep(s, &s.found.scales, "scale", sample)
	})
}
