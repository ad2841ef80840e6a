// Package plugin is the generic registry under monitors, alerts and resources:
// a kind's name, its default configuration and the function that builds it.
//
// A kind is registered once, from an init function of the plugin's own package;
// registering a name twice is a programmer's error and panics. Registries are
// written during init only and read afterwards, so they need no lock.
package plugin

import (
	"fmt"
	"maps"
	"slices"
)

// A Registry holds the kinds of one contract. T is the contract's interface, S
// what the daemon tells each plugin about the place it runs in.
type Registry[T, S any] struct {
	contract string
	kinds    map[string]kind[T, S]
}

type kind[T, S any] struct {
	defaults func() any
	build    func(site S, bind Bind) (T, error)
}

// Bind fills the struct that into points to from the user's configuration. It
// starts from the defaults already in it and reports every unknown key and
// wrong type.
type Bind func(into any) error

// NewRegistry returns an empty registry; contract ("monitor", "alert",
// "resource") stands in error messages.
func NewRegistry[T, S any](contract string) *Registry[T, S] {
	return &Registry[T, S]{contract: contract, kinds: map[string]kind[T, S]{}}
}

// Register adds a kind. defaults is copied for every instance, so it must hold
// no map; build gets the user's values on top of the defaults and returns a
// plugin that is ready to use, or an error, best made by [BadKey].
func Register[C, T, S any](r *Registry[T, S], name string, defaults C, build func(C, S) (T, error)) {
	if _, dup := r.kinds[name]; dup {
		panic(fmt.Sprintf("%s %q is registered twice", r.contract, name))
	}
	r.kinds[name] = kind[T, S]{
		defaults: func() any { c := defaults; return &c },
		build: func(site S, bind Bind) (T, error) {
			c := defaults
			if err := bind(&c); err != nil {
				var none T
				return none, err
			}
			return build(c, site)
		},
	}
}

// Build makes an instance of a kind. An unknown name is an [UnknownKindError].
func (r *Registry[T, S]) Build(name string, site S, bind Bind) (T, error) {
	k, ok := r.kinds[name]
	if !ok {
		var none T
		return none, &UnknownKindError{Contract: r.contract, Name: name, Known: r.Kinds()}
	}
	return k.build(site, bind)
}

// Kinds lists the registered names in alphabetical order.
func (r *Registry[T, S]) Kinds() []string { return slices.Sorted(maps.Keys(r.kinds)) }

// Defaults returns a pointer to a fresh copy of a kind's default configuration,
// or nil for an unknown kind. Documentation and shell completion read it.
func (r *Registry[T, S]) Defaults(name string) any {
	if k, ok := r.kinds[name]; ok {
		return k.defaults()
	}
	return nil
}

// UnknownKindError says that no plugin of that name was compiled in.
type UnknownKindError struct {
	Contract, Name string
	Known          []string
}

func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("unknown %s type %q", e.Contract, e.Name)
}

// KeyError blames one key of a plugin's table, so that the configuration can
// point at its line and column.
type KeyError struct {
	Key string
	Err error
}

func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *KeyError) Unwrap() error { return e.Err }

// BadKey returns a [KeyError]. The message says what is wrong with the value
// and what would be accepted; it does not repeat the key.
func BadKey(key, format string, args ...any) error {
	return &KeyError{Key: key, Err: fmt.Errorf(format, args...)}
}

// A Warner is a plugin's configuration struct that knows what is accepted in it and
// hardly meant, such as a password that is sent in the clear. Warnings is called once
// its plugin was built, on the values that the user wrote upon the defaults. Each error
// is shown to people at its key, best made by [BadKey], and stops nothing.
type Warner interface {
	Warnings() []error
}
