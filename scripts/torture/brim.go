package main

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
)

func brimScenario() scenario {
	return scenario{
		name:     "brim",
		about:    "the disk of a lone member is full from one moment to the next while its tables are compacted (storm 9240)",
		defaults: options{members: 1, groups: 1, rounds: 20, seam: true},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rounds, "rounds", o.rounds, "times that the disk fills")
		},
		run: runBrim,
	}
}

const (
	brimKeys   = 150
	brimWrites = 40       // of them in each round
	brimValue  = 60 << 10 // so that a compaction makes many tables
	// brimFull is for how long the disk is full.
	brimFull = 300 * time.Millisecond
)

func runBrim(ctx context.Context, t *trial) error {
	if err := needsSeam(&t.opt); err != nil {
		return err
	}
	c := t.config()
	if _, err := t.newShelf(&c, powerfsOptions()); err != nil {
		return err
	}
	if err := t.boot(ctx, c); err != nil {
		return err
	}
	p := &powerTrial{trial: t, rng: rand.New(rand.NewPCG(t.opt.seed, 1<<35))} //nolint:gosec // must be repeatable
	b := &bulk{sums: map[string]string{}}
	for round := range t.opt.rounds {
		stop := p.startScribes(ctx, round)
		err := p.brim(ctx, b)
		stop()
		if err != nil {
			return err
		}
		if err := p.afresh(ctx, b); err != nil {
			return err
		}
		if err := p.audit(ctx, round); err != nil || len(t.rep.Violations) > 0 {
			return err
		}
	}
	lines, err := t.cluster.Members[0].Lines()
	if err != nil {
		return err
	}
	lost := strings.Count(strings.Join(lines, "\n"), lostTable)
	t.rep.checked("words of lost tables", lost)
	if lost == 0 {
		t.rep.inconclusive("no compaction has lost a table")
	}
	return nil
}

// brim writes values that do not compress, and fills the disk while they are compacted.
func (p *powerTrial) brim(ctx context.Context, b *bulk) error {
	m, disk := p.cluster.Members[0], p.shelf.disks[0]
	for range brimWrites {
		if err := b.write(ctx, m.Client, fmt.Sprintf("/_brim/%d", p.rng.IntN(brimKeys)), noise()); err != nil {
			return err
		}
	}
	tail, err := m.Tail()
	if err != nil {
		return err
	}
	compacted := make(chan struct{})
	go func() {
		defer close(compacted)
		for range 3 {
			_, _ = m.Seam.Snapshot(ctx, 0) // a full disk may end it
		}
	}()
	err = pause(ctx, between(p.rng, 0, 60*time.Millisecond))
	if err == nil {
		disk.Occupy(0)
		p.rep.fault("full while it compacts")
		err = pause(ctx, brimFull)
		disk.Occupy(-1)
	}
	<-compacted
	if err != nil || m.Running() {
		return err
	}
	return p.lastWords(ctx, m, tail, wordsOfFullDisks())
}

// noise does not compress.
func noise() string {
	b := make([]byte, brimValue/2)
	_, _ = crand.Read(b) // it cannot fail
	return hex.EncodeToString(b)
}

// afresh starts the member again, so that nothing is read from its memory, and reads what does not show in listings.
func (p *powerTrial) afresh(ctx context.Context, b *bulk) error {
	m := p.cluster.Members[0]
	if m.Running() {
		if err := m.Kill(); err != nil {
			return err
		}
	}
	if err := m.Start(); err != nil {
		return err
	}
	if err := p.ready(ctx); err != nil {
		return p.notHealed(ctx, fmt.Errorf("after a full disk: %w", err))
	}
	wrong, unread, err := b.read(ctx, m)
	if err != nil {
		return err
	}
	for _, w := range append(wrong, unread...) {
		p.rep.violate(check.Violation{Check: "durable", Detail: w})
	}
	p.rep.checked("bulk read", len(b.sums))
	return nil
}
