package check_test

import (
	"testing"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

func TestExpiryByWrongClocks(t *testing.T) {
	for name, c := range map[string]struct {
		lease check.Lease
		at    int // ms
		want  bool
	}{
		"fast":      {check.Lease{}, 100 + 953, false},
		"too fast":  {check.Lease{}, 100 + 952, true},
		"slow":      {check.Lease{}, 110 + 1052 + 500, false},
		"too slow":  {check.Lease{}, 110 + 1053 + 500, true},
		"refused":   {check.Lease{Gone: 10}, 1500, false},
		"both ways": {check.Lease{Gone: 9}, 1500, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.lease.Key, c.lease.TTL, c.lease.Call, c.lease.Return = "/a", ms(1000), ms(100), ms(110)
			e := event("expire", "/a", "", 10, 0)
			e.At = ms(c.at)
			seen := check.Sequence{Watcher: "w", Events: []history.Event{e}}
			expect(t, check.Expiry([]check.Lease{c.lease}, seen, check.Bounds{Late: ms(500), Drift: 0.05}), c.want)
		})
	}
}
