package cluster

import (
	"fmt"
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
	})
}
