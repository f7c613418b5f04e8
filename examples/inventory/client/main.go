// Command client calls the inventory. It wants a server and its certificates beside
// the working directory: go run ./examples/inventory/service serve --dev.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"busd/bus"
	"busd/examples/inventory"
	"busd/rpc/rpcclient"
)

func main() {
	c, err := rpcclient.Dial(context.Background(), "https://localhost:8443/Framework/Inventory", rpcclient.Config{
		CertFile: ".busd/client-alice.crt",
		KeyFile:  ".busd/client-alice.key",
		CAFiles:  []string{".busd/ca.crt"},
	})
	if err == nil {
		err = errors.Join(play(context.Background(), c), c.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// play uses the inventory; the client's URL says how its calls travel.
func play(ctx context.Context, c *rpcclient.Client) error {
	count, err := rpcclient.Call[int64](ctx, c, "put", inventory.Item{Name: "bolt", Count: 40, Tags: []string{"metal"}})
	if err != nil {
		return err
	}
	fmt.Println("bolts:", count)

	found, err := rpcclient.CallNamed[[]inventory.Item](ctx, c, "find", map[string]any{"tag": "metal", "most": 10})
	if err != nil {
		return err
	}
	fmt.Println("of metal:", found[0].Name)

	if err := files(ctx, c); err != nil {
		return err
	}

	_, err = c.Call(ctx, "remove", "bolt")
	var failed *bus.Error
	if errors.As(err, &failed) && failed.Code == bus.CodePermissionDenied {
		fmt.Println("only a store keeper may remove:", failed.Reason)
		return nil
	}
	return err
}

// files go over HTTPS, also where calls go over a stable connection, and are never
// whole in memory.
func files(ctx context.Context, c *rpcclient.Client) error {
	drawing := strings.NewReader("<svg/>")
	if _, err := c.Send(ctx, drawing, int64(drawing.Len()), "attach", "bolt"); err != nil {
		return err
	}
	var copied strings.Builder
	if _, err := c.Receive(ctx, &copied, "attached", "bolt"); err != nil { // ReceiveFile writes a file, whole or not at all
		return err
	}
	fmt.Println("attached:", copied.String())
	return nil
}
