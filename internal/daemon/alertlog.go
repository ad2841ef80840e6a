package daemon

import (
	"log/slog"

	"github.com/sirupsen/logrus"
)

// AlertLog lets alerts write into a log, see alerts.Site.
func AlertLog(log *logrus.Logger) func(slog.Level, string, ...slog.Attr) {
	return func(level slog.Level, text string, attrs ...slog.Attr) {
		fields := logrus.Fields{}
		for _, a := range attrs {
			fields[a.Key] = a.Value.Any()
		}
		log.WithFields(fields).Log(logrusLevel(level), text)
	}
}

func logrusLevel(level slog.Level) logrus.Level {
	switch {
	case level >= slog.LevelError:
		return logrus.ErrorLevel
	case level >= slog.LevelWarn:
		return logrus.WarnLevel
	case level >= slog.LevelInfo:
		return logrus.InfoLevel
	}
	return logrus.DebugLevel
}
