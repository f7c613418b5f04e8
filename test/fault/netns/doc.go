// Package netns gives tests a network of their own: hosts with addresses, cables
// and a router between them that can lose packets, let them pass in one
// direction only, or keep groups of hosts apart. What runs on a host may be a
// built program ([Host.Start]) or a socket of the test itself
// ([Host.DialContext], [Host.Listen]).
//
//	n := netns.New(t) // skips, and says why, where there can be none
//	server, client := n.Host("server"), n.Host("client")
//	err := server.Start(exec.Command(busd, "serve", ...))
//	conn, err := client.DialContext(ctx, "tcp", net.JoinHostPort(server.Addr().String(), "8443"))
//	err = n.Block(server, client) // half a line: the client hears nothing more
//
// Hosts are Linux network namespaces, joined to one more, the router, by veth
// pairs:
//
//	┌────────────┐          ┌─────────────────────┐          ┌────────────┐
//	│ server     │   veth   │ router              │   veth   │ client     │
//	│ 10.77.1.2  ├──────────┤ forwards; nft drops ├──────────┤ 10.77.2.2  │
//	└────────────┘          └─────────────────────┘          └────────────┘
//
// They have no names and no connection to the machine's own network. The kernel
// removes them with the last socket and process in them, also when the test is
// killed, so that nothing is left and tests may run at the same time.
//
// It needs Linux, root, and the programs ip and nft (Debian: iproute2,
// nftables). Delay is not in it: package proxy has that. Losses are the kernel's
// dice, not the seed's.
package netns
