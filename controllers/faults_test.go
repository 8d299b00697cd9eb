// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// errInjected is what a lost connection looks like: it says nothing about whether the write happened.
var errInjected = errors.New("injected: connection lost")

// faults wraps a client: it counts the writes, notes from which line of the controllers each comes, and breaks one.
type faults struct {
	mutex sync.Mutex
	// breakAt is the number of the write that is broken, from 1; 0 for none.
	breakAt int
	// lost: the write happens, but its answer is lost; otherwise it does not happen.
	lost bool
	// before and after are called around that write.
	before, after func()
	// each is called after every write.
	each func(what string)

	writes int
	broken string
	// brokenSite is the line that made the broken write.
	brokenSite string
	// sites are the lines that made the writes, in their order.
	sites []string
}

func (f *faults) wrap(base client.WithWatch) client.WithWatch {
	return interceptor.NewClient(base, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if dry := (&client.CreateOptions{}).ApplyOptions(options); len(dry.DryRun) > 0 {
				return c.Create(ctx, o, options...)
			}
			return f.write("create", o, func() error { return c.Create(ctx, o, options...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			if dry := (&client.UpdateOptions{}).ApplyOptions(options); len(dry.DryRun) > 0 {
				return c.Update(ctx, o, options...)
			}
			return f.write("update", o, func() error { return c.Update(ctx, o, options...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			return f.write("patch", o, func() error { return c.Patch(ctx, o, p, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			return f.write("delete", o, func() error { return c.Delete(ctx, o, options...) })
		},
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, configuration apiruntime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
			return f.write("apply "+sub, nil, func() error { return c.SubResource(sub).Apply(ctx, configuration, options...) })
		},
	})
}

func (f *faults) write(verb string, o client.Object, do func() error) error {
	f.mutex.Lock()
	f.writes++
	broken := f.writes == f.breakAt
	what := verb
	if o != nil {
		gvk, err := apiutil.GVKForObject(o, live.Scheme())
		if err != nil {
			gvk = schema.GroupVersionKind{Kind: err.Error()}
		}
		what += " " + gvk.Kind
	}
	f.sites = append(f.sites, callSite())
	if broken {
		f.broken, f.brokenSite = what, callSite()
	}
	f.mutex.Unlock()

	if broken && f.before != nil {
		f.before()
	}
	var err error
	if !broken || f.lost || f.before != nil {
		err = do()
	}
	if broken && f.after != nil {
		f.after()
	}
	if f.each != nil {
		f.each(what)
	}
	if broken && f.before == nil {
		return errInjected
	}
	return err
}

// callSite returns the line of the controllers' code, tests aside, that made the write.
func callSite() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for {
		frame, more := frames.Next()
		if _, in, ok := strings.Cut(frame.Function, "key-operator/controllers/"); ok {
			folder, _, _ := strings.Cut(in, ".")
			return fmt.Sprintf("%s/%s:%d", folder, filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return "unknown"
		}
	}
}
