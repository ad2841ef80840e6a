package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/heartbeat"
)

func newKeygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen [FILE]",
		Short: "Make a key for the directors of a cluster",
		Long: `Make a random key, which all nodes of a cluster share: what they tell each other is
sealed with it. It is printed, or written to FILE with mode 600; a file that is there
already is left alone.

To change a key without a pause, write the new one behind the old one in key_file on
all nodes, then before it, then take the old one out, with a restart (SIGUSR2) of
each node every time.`,
		Example: "  monitord keygen /etc/monitord/cluster.key",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				_, err := fmt.Fprint(c.OutOrStdout(), heartbeat.NewKey())
				return err
			}
			if err := writeKey(args[0]); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: a new key; copy it to every node of the cluster, with mode 600\n", args[0])
			return nil
		},
	}
}

// writeKey makes the file, whole or not at all.
func writeKey(path string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: it is not overwritten, because the other nodes may use its key", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no folder %s: make it with \"mkdir -p %[1]s\"", filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(heartbeat.NewKey())
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
