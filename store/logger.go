package store

import (
	"strings"

	"github.com/rs/zerolog"
)

// badgerLogger hands Badger's messages to our log. What Badger thinks is
// information (every compaction, every replayed file) is detail to us.
type badgerLogger struct{ log zerolog.Logger }

func (l badgerLogger) Errorf(format string, args ...any)   { l.write(l.log.Error(), format, args) }
func (l badgerLogger) Warningf(format string, args ...any) { l.write(l.log.Warn(), format, args) }
func (l badgerLogger) Infof(format string, args ...any)    { l.write(l.log.Debug(), format, args) }
func (l badgerLogger) Debugf(format string, args ...any)   { l.write(l.log.Trace(), format, args) }

func (l badgerLogger) write(e *zerolog.Event, format string, args []any) {
	e.Str("engine", "badger").Msgf(strings.TrimSpace(format), args...)
}
