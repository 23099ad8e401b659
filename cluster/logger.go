package cluster

import (
	"fmt"
	stdlog "log"
	"strings"
	"sync"

	"github.com/lni/dragonboat/v4/logger"
	"github.com/rs/zerolog"
)

// raftLogger passes Dragonboat's log on, two levels quieter: it warns of what
// raft recovers from by itself. Its transport calls every member that stops an
// error, several times over.
type raftLogger struct {
	log    zerolog.Logger
	errors zerolog.Level
}

var _ logger.ILogger = raftLogger{}

func (l raftLogger) SetLevel(logger.LogLevel) {}

func (l raftLogger) Debugf(format string, args ...any)   { l.log.Trace().Msgf(format, args...) }
func (l raftLogger) Infof(format string, args ...any)    { l.log.Debug().Msgf(format, args...) }
func (l raftLogger) Warningf(format string, args ...any) { l.log.Debug().Msgf(format, args...) }
func (l raftLogger) Errorf(format string, args ...any) {
	l.log.WithLevel(l.errors).Msgf(format, args...)
}

// Panicf must panic: Dragonboat counts on not coming back.
func (l raftLogger) Panicf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.log.Error().Msg(text)
	if halt := panics.Load(); halt != nil {
		(*halt)(text)
	}
	panic(text)
}

// loggerOnce is the package's one variable, because Dragonboat's loggers are
// a process's: with several nodes in one, the first one's logger gets everything.
var loggerOnce sync.Once

func useRaftLogger(log zerolog.Logger) {
	loggerOnce.Do(func() {
		logger.SetLoggerFactory(func(pkg string) logger.ILogger {
			l := raftLogger{log: log.With().Str("component", pkg).Logger(), errors: zerolog.WarnLevel}
			if pkg == "transport" {
				l.errors = zerolog.DebugLevel
			}
			return l
		})
		stdlog.SetFlags(0)
		stdlog.SetOutput(pebbleLog{log.With().Str("component", "pebble").Logger()})
	})
}

// pebbleLog is where Pebble's lines go, by way of the standard library's
// logger. Pebble panics in goroutines of its own when its manifest cannot be
// written, and what it says before that is all there is to hear of it in time.
type pebbleLog struct{ log zerolog.Logger }

// Write implements io.Writer for one line.
func (l pebbleLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if halt := panics.Load(); halt != nil && ofTheDisk(text) {
		l.log.Error().Msg(text)
		(*halt)(text)
	}
	l.log.Debug().Msg(text)
	return len(line), nil
}
