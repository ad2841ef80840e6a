package mon

import (
	"path"
	"slices"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/migrate/moncf"
	"github.com/monitord/monitord/monitors"
)

// builtIn are the programs of mon that a built-in monitor or alert could replace.
var builtIn = map[string]string{
	"dns.monitor": "dns", "fping.monitor": "ping", "ftp.monitor": "ftp", "http.monitor": "http",
	"imap.monitor": "imap", "phttp.monitor": "http", "ping.monitor": "ping", "pop3.monitor": "pop3",
	"smtp.monitor": "smtp", "smtp3.monitor": "smtp", "tcp.monitor": "tcp", "telnet.monitor": "telnet",
	"file.alert": "file", "mail.alert": "mail",
}

// suggestMonitor names the monitor that does the same without a program: nobody has
// to take it.
func (s *service) suggestMonitor(src moncf.Source, program string) {
	kind := builtIn[path.Base(program)]
	if kind != "" && slices.Contains(monitors.Kinds(), kind) {
		s.account.suggest(src, "the monitor \""+kind+"\" tests the same without starting a program, host by host")
	}
}

func (s *service) suggestAlert(a moncf.AlertLine) {
	kind := builtIn[path.Base(a.Program)]
	if kind != "" && slices.Contains(alerts.Kinds(), kind) {
		s.account.suggest(a.Source, "the alert \""+kind+"\" does the same without a program, and tries again when it fails")
	}
}
