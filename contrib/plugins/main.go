// Director is monitord with three kinds of one's own: a copy of cmd/monitord/main.go
// with three imports more.
package main

import (
	"github.com/monitord/monitord"

	_ "example.org/director/clock"
	_ "example.org/director/link"
	_ "example.org/director/zabbix"

	_ "github.com/monitord/monitord/alerts/exec"
	_ "github.com/monitord/monitord/alerts/file"
	_ "github.com/monitord/monitord/alerts/ipvs"
	_ "github.com/monitord/monitord/alerts/log"
	_ "github.com/monitord/monitord/alerts/mail"
	_ "github.com/monitord/monitord/alerts/syslog"
	_ "github.com/monitord/monitord/alerts/webhook"
	_ "github.com/monitord/monitord/monitors/dns"
	_ "github.com/monitord/monitord/monitors/exec"
	_ "github.com/monitord/monitord/monitors/file"
	_ "github.com/monitord/monitord/monitors/ftp"
	_ "github.com/monitord/monitord/monitors/http"
	_ "github.com/monitord/monitord/monitors/imap"
	_ "github.com/monitord/monitord/monitors/mysql"
	_ "github.com/monitord/monitord/monitors/ping"
	_ "github.com/monitord/monitord/monitors/pop3"
	_ "github.com/monitord/monitord/monitors/redis"
	_ "github.com/monitord/monitord/monitors/smtp"
	_ "github.com/monitord/monitord/monitors/ssh"
	_ "github.com/monitord/monitord/monitors/tcp"
	_ "github.com/monitord/monitord/monitors/telnet"
	_ "github.com/monitord/monitord/monitors/tls"
	_ "github.com/monitord/monitord/monitors/udp"
	_ "github.com/monitord/monitord/resources/exec"
	_ "github.com/monitord/monitord/resources/lvs"
	_ "github.com/monitord/monitord/resources/mail"
	_ "github.com/monitord/monitord/resources/realserver"
	_ "github.com/monitord/monitord/resources/route"
	_ "github.com/monitord/monitord/resources/sysctl"
	_ "github.com/monitord/monitord/resources/systemd"
	_ "github.com/monitord/monitord/resources/vip"
)

func main() { monitord.Main() }
