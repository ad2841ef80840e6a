// Unpack fetches Debian packages into the cache of the checkout and prints the
// folder that they are unpacked in; nothing is installed.
//
//	go run ./internal/debian/unpack gcc libc6-dev libc6
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/monitord/monitord/internal/debian"
)

func main() {
	root, err := debian.Fetch(context.Background(), os.Args[1:]...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "unpack:", err)
		os.Exit(1)
	}
	fmt.Println(root)
}
