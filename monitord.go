// Package monitord is the program, for those who build their own with plugins
// added: copy cmd/monitord/main.go, add a blank import, and go build.
package monitord

import (
	"os"

	"github.com/monitord/monitord/internal/cli"
)

// Main runs the command line of the process and does not return.
func Main() { os.Exit(cli.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
