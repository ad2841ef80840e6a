// Monitord watches servers, puts them in and out of their pools, and tells
// people.
package main

import (
	"github.com/monitord/monitord"

	_ "github.com/monitord/monitord/alerts/exec"
	_ "github.com/monitord/monitord/alerts/ipvs"
	_ "github.com/monitord/monitord/alerts/mail"
	_ "github.com/monitord/monitord/monitors/exec"
	_ "github.com/monitord/monitord/monitors/http"
	_ "github.com/monitord/monitord/monitors/ping"
	_ "github.com/monitord/monitord/monitors/tcp"
	_ "github.com/monitord/monitord/monitors/telnet"
)

func main() { monitord.Main() }
