package cluster

import (
	"fmt"
	"sync"

	"github.com/lni/dragonboat/v4/logger"
	"github.com/rs/zerolog"
)

// raftLogger passes Dragonboat's log on, two levels quieter: it warns of what
// raft recovers from by itself.
type raftLogger struct {
	log zerolog.Logger
}

var _ logger.ILogger = raftLogger{}

func (l raftLogger) SetLevel(logger.LogLevel) {}

func (l raftLogger) Debugf(format string, args ...any)   { l.log.Trace().Msgf(format, args...) }
func (l raftLogger) Infof(format string, args ...any)    { l.log.Debug().Msgf(format, args...) }
func (l raftLogger) Warningf(format string, args ...any) { l.log.Debug().Msgf(format, args...) }
func (l raftLogger) Errorf(format string, args ...any)   { l.log.Warn().Msgf(format, args...) }

// Panicf must panic: Dragonboat counts on not coming back.
func (l raftLogger) Panicf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.log.Error().Msg(text)
	panic(text)
}

// loggerOnce is the package's one variable, because Dragonboat's loggers are
// a process's: with several nodes in one, the first one's logger gets everything.
var loggerOnce sync.Once

func useRaftLogger(log zerolog.Logger) {
	loggerOnce.Do(func() {
		logger.SetLoggerFactory(func(pkg string) logger.ILogger {
			return raftLogger{log.With().Str("component", pkg).Logger()}
		})
	})
}
