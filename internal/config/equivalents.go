package config

// forms are those of the keys that take more than one type, or tables that are read
// by themselves.
func forms() map[string]string {
	return map[string]string{
		"include":    "string or list of strings",
		"hostgroups": "table of lists of strings",
		"log":        "table", "digest": "table", "lvs": "table", "sync": "table", "cluster": "table", "fence": "table", "stonith": "table",
		"virtual": "tables", "group": "tables", "watch": "tables", "period": "tables", "escalate": "tables", "node": "tables", "resource": "tables",
		"monitor":    "table",
		"alertafter": "number, duration or table", "alertevery": "duration or table",
		"alertexitrange": "number or string", "exit": "number or string",
		"redistribute": "alert",
		"alert":        "list of alerts", "upalert": "list of alerts", "startupalert": "list of alerts", "ackalert": "list of alerts",
		"disablealert": "list of alerts", "quorum_alert": "list of alerts", "quorum_upalert": "list of alerts",
	}
}

// equivalents notes what mon.cf (mon 1.3.6, mon(8)) has instead of a table's keys:
// of the global section and of periods the same names, unless noted.
func equivalents(t *Table) {
	own := Equivalents()[t.Name]
	if t.Contract != "" {
		own = Equivalents()[t.Contract+" "+t.Name]
	}
	for i := range t.Keys {
		t.Keys[i].Mon = own[t.Keys[i].Name]
	}
}

// Equivalents gives, by table and key, mon's words, and for kinds those of the programs
// in Debian's package mon 1.3.6; lvs.alert is the one that many sites have written
// alike. A kind's table is named as in "monitor exec".
func Equivalents() map[string]map[string]string {
	return map[string]map[string]string{
		Globals: {
			"statedir": "statedir", "logdir": "logdir", "cfbasedir": "cfbasedir",
			"alertdir": "alertdir, with colons", "mondir": "mondir, with colons",
			"maxprocs": "maxprocs, default no bound", "randstart": "randstart", "exclude_period": "exclude_period",
			"dep_behavior": "dep_behavior", "dep_memory": "dep_memory, without effect there", "dep_recur_limit": "dep_recur_limit",
			"unack_summary": "unack_summary", "startupalerts_on_reset": "startupalerts_on_reset", "histlength": "histlength",
			"historicfile": "historicfile", "historictime": "historictime", "dtlogging": "dtlogging", "dtlogfile": "dtlogfile",
			"hostgroups": "hostgroup NAME HOST...", "watch": "watch GROUP",
			"state_age": "any age, with mon -l",
		},
		logSection: {"syslog": "syslog_facility"},
		watchSection: {
			"group": "watch GROUP", "service": "service NAME", "description": "description",
			"interval": "interval", "failure_interval": "failure_interval", "randskew": "randskew",
			"exclude_period": "exclude_period", "monitor": "monitor PROGRAM ARGS", "exclude_hosts": "exclude_hosts",
			"allow_empty_group": "allow_empty_group", "scope": `always "group"`,
			"depend": "depend", "alertdepend": "alertdepend", "monitordepend": "monitordepend", "hostdepend": "hostdepend",
			"dep_behavior": "dep_behavior", "dep_memory": "dep_memory, without effect there", "unack_summary": "unack_summary",
			"traptimeout": "traptimeout", "trapduration": "trapduration", "redistribute": "redistribute",
			"env": "NAME=value", "period": "period [NAME:] WHEN",
		},
		periodSection: {
			"name": "period NAME: WHEN", "when": "period WHEN",
			"alertafter": "alertafter N, T, N T, or several", "alertevery": "alertevery T [strict, ...]", "numalerts": "numalerts",
			"upalertafter": "upalertafter, without effect there", "no_comp_alerts": "no_comp_alerts",
			"alerts_dont_count": "alerts_dont_count", "alertexitrange": "alertexitrange",
			"alert": "alert PROGRAM ARGS", "upalert": "upalert", "startupalert": "startupalert", "ackalert": "ackalert",
			"disablealert": "disablealert",
		},
		"every alert": {"exit": "alert exit=N[-M] PROGRAM"},
		"monitor exec": {
			"program": "monitor PROGRAM", "args": "monitor PROGRAM ARGS", "hosts": ";; at the end of the line", "timeout": "none: it waits for ever",
		},
		"monitor ping": {
			"count": "fping.monitor -r N, the tries after the first", "timeout": "fping.monitor -t MILLISECONDS",
			"rtt": "fping.monitor -s MILLISECONDS",
		},
		"monitor tcp": {"port": "tcp.monitor -p PORT", "timeout": "tcp.monitor -t SECONDS"},
		"monitor telnet": {
			"port": "telnet.monitor -p PORT", "timeout": "telnet.monitor -t SECONDS", "prompt": "telnet.monitor -l /REGEXP/",
		},
		"monitor http": {
			"port": "http.monitor -p PORT", "timeout": "http.monitor -t SECONDS", "path": "http.monitor -u PATH",
			"body": "http.monitor -m REGEXP, headers included", "headers": "http.monitor -a AGENT",
		},
		"monitor smtp": {"port": "smtp.monitor -p PORT", "timeout": "smtp.monitor -t SECONDS"},
		"monitor imap": {"port": "imap.monitor -p PORT", "timeout": "imap.monitor -t SECONDS"},
		"monitor pop3": {"port": "pop3.monitor -p PORT", "timeout": "pop3.monitor -t SECONDS"},
		"monitor ftp":  {"port": "ftp.monitor -p PORT", "timeout": "ftp.monitor -t SECONDS"},
		"monitor dns": {
			"query": "dns.monitor -query NAME or -zone NAME, dns-query.monitor -n NAME", "record": "dns.monitor -query NAME:TYPE",
			"expect": "dns.monitor -query NAME:TYPE:VALUE", "transport": "dns.monitor -tcp", "timeout": "dns.monitor -timeout SECONDS",
			"master": "dns.monitor -master SERVER", "serial_threshold": "dns.monitor -serial_threshold N",
		},
		"alert mail":  {"to": "mail.alert ADDRESS...", "from": "mail.alert -f ADDRESS", "subject": "mail.alert -S SUBJECT"},
		"alert file":  {"file": "file.alert [-d DIR] FILE"},
		"alert ipvs":  {"virtual": "lvs.alert -P PROTOCOL -V ADDRESS:PORT"},
		"[[virtual]]": {"address": "lvs.alert -V", "protocol": "lvs.alert -P", "forward": "lvs.alert -F", "real": "lvs.alert -R ADDRESS -W WEIGHT"},
		"alert exec":  {"program": "alert PROGRAM", "args": "alert PROGRAM ARGS", "timeout": "none: it does not wait"},
	}
}
