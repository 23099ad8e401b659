package main

import (
	"context"
	"errors"
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

// The trees that reads are measured in, beside those of --scale-keys.
const (
	scaleValueSize = 100 // bytes
	wideKeys       = 100_000
	deepLevels     = 20
)

func listSizes() []int { return []int{10, 100, 1000, 10_000} }

// tree is keys below a path and reads of them.
type tree struct {
	kind        string
	size, keys  int
	write, read string // paths
}

// trees are those that are made in one cluster beside each other.
func trees() []tree {
	wide, deep := "/wide/key-{n}", strings.Repeat("/deep", deepLevels-1)+"/key-{n}"
	list := []tree{
		{readWide, wideKeys, wideKeys, wide, wide},
		{readDeep, deepLevels, presetKeys, deep, deep},
	}
	for _, n := range listSizes() {
		dir := fmt.Sprintf("/list-%d", n)
		list = append(list, tree{readList, n, n, dir + "/key-{n}", dir})
	}
	return list
}

// reading is what one target is asked for.
type reading struct {
	*target
	tree
}

// runScale measures what reads cost in larger and larger trees. All readings
// that are compared with each other are taken in the same rounds.
func (s *session) runScale(ctx context.Context) error {
	u := s.base()
	u.ValueSize = scaleValueSize
	err := s.withTargets(ctx, s.stores(), u, func(targets []*target) error {
		var list []reading
		for _, tr := range trees() {
			for _, t := range targets {
				write := shape{method: "PUT", path: tr.write, form: "value={v}"}
				if err := t.fillWith(ctx, write, new(atomic.Uint64), uint64(tr.keys)); err != nil {
					return err
				}
				list = append(list, reading{t, tr})
			}
		}
		return s.runReadings(ctx, list)
	})
	if err != nil {
		return err
	}
	return s.runAmong(ctx, u)
}

// runAmong measures clusters that differ in how many keys they have.
func (s *session) runAmong(ctx context.Context, u setUp) (err error) {
	var list []reading
	defer func() {
		for _, r := range list {
			err = errors.Join(err, r.remove())
		}
	}()
	for _, keys := range s.scaleKeys {
		for _, p := range s.stores() {
			if !s.holds(p, keys) {
				continue
			}
			s.say("%s: %s is filled with %d keys", scaleName, p.name, keys)
			c, err := startReady(ctx, p, u, s.dir)
			if err != nil {
				return err
			}
			r := reading{&target{cluster: c}, tree{kind: readAmong, size: keys, keys: keys, read: keyPath}}
			list = append(list, r)
			if err := r.fill(ctx, uint64(keys)); err != nil {
				return err
			}
			if err := s.weigh(ctx, r.target, keys); err != nil {
				return err
			}
		}
	}
	return s.runReadings(ctx, list)
}

func (s *session) runReadings(ctx context.Context, list []reading) error {
	p := s.pace(false)
	return inTurn(s, scaleName, p.rounds, list, func(r reading, round int) error {
		sample, err := r.take(ctx, p, round)
		if err != nil {
			return err
		}
		return keep(s, &s.found.scales, "scale", sample)
	})
}

// take measures a reading once.
func (r reading) take(ctx context.Context, p pace, round int) (sample scaleSample, err error) {
	cs, err := dialAll(ctx, r.addrs(), usualConnections)
	if err != nil {
		return sample, err
	}
	defer cs.close()
	cs.prepare([]shape{{method: "GET", path: r.read}}, true, 0, func(i int) picker {
		return anyOf(uint64(r.keys), uint64(round)<<32|uint64(i))
	})
	out, used, err := r.drive(ctx, cs, p)
	if err == nil && out.refused > 0 {
		err = fmt.Errorf("%d reads were answered with status %d", out.refused, out.example)
	}
	return scaleSample{
		Kind: r.kind, Size: r.size, turn: turn{r.product.name, round},
		Rate:  float64(out.latency.total) / out.elapsed.Seconds(),
		costs: used.costs(out.latency.total, out.elapsed),
	}, err
}
