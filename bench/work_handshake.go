package main

func handshakeWork(resume bool) *work {
	w := &work{
		name: "handshakes-full", title: "Handshakes, full",
		about: "Connections are opened, 16 at a time, until the server has accepted each: raw TLS sends four bytes, WebSockets their upgrade, grpc-go the " +
			"stream's header, NATS its PONG, busd the welcome. They stay open. Both ends check certificates; the key exchange is Go's default (X25519MLKEM768).",
		columns: []column{{"rate", "connections/s", perSecond}, cpuServerColumn, cpuClientColumn},
		takes:   moves,
		quick:   true,
		rounds:  3,
		run: oneOperation("handshakes", func(s scale) any {
			return handshakeArgs{Count: s.Handshakes, Resume: resume}
		}),
	}
	if resume {
		w.name, w.title = "handshakes-resumed", "Handshakes, resumed"
		w.about = "The same with TLS sessions resumed."
	}
	return w
}
