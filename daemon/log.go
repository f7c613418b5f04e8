package daemon

import (
	"io"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"busd/daemon/internal/admin"
	"busd/daemon/internal/config"
)

// Of lines of one level and text, the first lineBurst of a second are written,
// and of the others one of lineSample.
const (
	lineBurst  = 1000
	lineSample = 100
)

// logs is the program's logger. Writing never waits for who reads.
type logs struct {
	*zap.Logger
	level  zap.AtomicLevel
	writer *lineWriter

	floods  *floods
	sampled *atomic.Uint64 // lines of one text that were not written
}

// newLogs starts the logger, which must be closed.
func newLogs(w io.Writer, c config.Log) *logs {
	conf := zap.NewProductionEncoderConfig()
	conf.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	conf.EncodeDuration = zapcore.SecondsDurationEncoder
	encoder := zapcore.NewJSONEncoder(conf)
	if c.Format == "console" {
		conf.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		conf.EncodeDuration = zapcore.StringDurationEncoder
		encoder = zapcore.NewConsoleEncoder(conf)
	}
	l := &logs{level: zap.NewAtomicLevelAt(levelOf(c.Level)), writer: newLineWriter(w), floods: newFloods(), sampled: new(atomic.Uint64)}
	core := zapcore.Core(&floodCore{zapcore.NewCore(encoder, l.writer, l.level), l.floods})
	l.Logger = zap.New(zapcore.NewSamplerWithOptions(core, time.Second, lineBurst, lineSample,
		zapcore.SamplerHook(func(_ zapcore.Entry, d zapcore.SamplingDecision) {
			if d&zapcore.LogDropped != 0 {
				l.sampled.Add(1)
			}
		})))
	return l
}

// lines counts what was not written.
func (l *logs) lines() admin.LogLines {
	return admin.LogLines{Dropped: l.writer.dropped.Load(), Repeated: l.floods.held.Load(), Sampled: l.sampled.Load()}
}

// silence is a logger that writes nothing.
func silence() *logs { return &logs{Logger: zap.NewNop()} }

func (l *logs) setLevel(level string) { l.level.SetLevel(levelOf(level)) }

// close writes what is left, if it is read soon.
func (l *logs) close() { l.writer.close(flushTime) }

// levelOf reads a word that the configuration has checked.
func levelOf(word string) zapcore.Level {
	level, err := zapcore.ParseLevel(word)
	if err != nil {
		return zapcore.InfoLevel
	}
	return level
}
