package sealed_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/logger"
)

// A shop publishes an order, billing reads it, and the broker between them cannot. Here
// the two know each other by a card; in a fleet, broker.Registry with the signed
// registry spares that. A program gets its identity from identity.Load and gives the
// broker to micro.NewService by micro.Broker.
func ExampleNewBroker() {
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		log.Fatal(err)
	}
	shopID, err := authority.Issue("shop")
	if err != nil {
		log.Fatal(err)
	}
	defer shopID.Close()
	billingID, err := authority.Issue("billing")
	if err != nil {
		log.Fatal(err)
	}
	defer billingID.Close()

	// Publishers seal to the box keys of those who read: shop needs billing's card.
	card, err := billingID.Card()
	if err != nil {
		log.Fatal(err)
	}
	if err := shopID.AddCard(card); err != nil {
		log.Fatal(err)
	}

	rule := sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("billing")) // all have the same
	quiet := broker.Logger(logger.NewLogger(logger.WithLevel(logger.FatalLevel)))              // go-micro's prints to stdout
	carrier := broker.NewMemoryBroker(quiet)                                                   // what all share
	shop := sealed.NewBroker(sealed.Wrap(carrier), sealed.Identity(shopID), rule, quiet)
	billing := sealed.NewBroker(sealed.Wrap(carrier), sealed.Identity(billingID), rule, quiet, sealed.OnReject(func(r sealed.Rejection) {
		fmt.Printf("billing refused a message on %s: %s\n", r.Topic, r.Reason)
	}))
	for _, b := range []broker.Broker{shop, billing} {
		if err := b.Connect(); err != nil {
			log.Fatal(err)
		}
		defer b.Disconnect()
	}

	sub, err := billing.Subscribe("orders.created", func(e broker.Event) error {
		publisher, _ := sealed.Sender(e)
		fmt.Printf("billing read %q from %s\n", e.Message().Body, publisher.ID)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Unsubscribe()
	if err := shop.Publish("orders.created", &broker.Message{Body: []byte("3 books")}); err != nil {
		log.Fatal(err)
	}

	// Whoever has the broker can publish; nobody reads it.
	if err := carrier.Publish("orders.created", &broker.Message{Body: []byte("900 books")}); err != nil {
		log.Fatal(err)
	}
	// The rule does not let billing publish, and there is none for payments.
	err = billing.Publish("orders.created", &broker.Message{Body: []byte("900 books")})
	fmt.Println("billing may not publish:", errors.Is(err, sealed.ErrNotPublisher))
	err = shop.Publish("payments", &broker.Message{Body: []byte("4000 0000 0000 0002")})
	fmt.Println("nothing is published without a rule:", errors.Is(err, sealed.ErrNoRule))
	// Output:
	// billing read "3 books" from spiffe://shop.internal/shop
	// billing refused a message on orders.created: unsealed
	// billing may not publish: true
	// nothing is published without a rule: true
}
