// SPDX-License-Identifier: Apache-2.0

// Package gitops tests what config/integrations/argocd and docs/gitops.md say to GitOps tools: the health checks and actions for Argo CD with
// the interpreter that Argo CD has, and what kstatus, by which Flux waits, makes of every state.
package gitops

import (
	"context"
	"fmt"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// scriptTimeout is Argo CD's.
const scriptTimeout = time.Second

// runScript runs a script as Argo CD does those of argocd-cm: with the basic functions, the table library and a few functions of
// os that have to be required, and nothing else. In particular there is no string library.
func runScript(t *testing.T, script string, object map[string]any) any {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(library.open), Protect: true}, lua.LString(library.name)); err != nil {
			t.Fatal(err)
		}
	}
	state.PreloadModule(lua.OsLibName, timesOnly)
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", toLua(t, state, object))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script returns a %s, not a table", state.Get(-1).Type())
	}
	return fromLua(t, result, object)
}

// timesOnly loads what Argo CD leaves of the os library.
func timesOnly(state *lua.LState) int {
	lua.OpenOs(state)
	library, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		state.RaiseError("no os library")
		return 0
	}
	var others []lua.LValue
	library.ForEach(func(name, _ lua.LValue) {
		if name.String() != "time" && name.String() != "date" {
			others = append(others, name)
		}
	})
	for _, name := range others {
		library.RawSet(name, lua.LNil)
	}
	state.SetGlobal(lua.OsLibName, lua.LNil)
	return 1
}

func toLua(t *testing.T, state *lua.LState, value any) lua.LValue {
	t.Helper()
	switch value := value.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(value)
	case string:
		return lua.LString(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(toLua(t, state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(t, state, item))
		}
		return table
	}
	t.Fatalf("no Lua value for a %T", value)
	return nil
}

// fromLua needs what the value was before: Lua cannot tell an empty list from an empty map.
func fromLua(t *testing.T, value lua.LValue, before any) any {
	t.Helper()
	switch value := value.(type) {
	case lua.LBool:
		return bool(value)
	case lua.LString:
		return string(value)
	case lua.LNumber:
		return float64(value)
	case *lua.LTable:
		if list, ok := before.([]any); ok || value.Len() > 0 {
			items := []any{}
			for i := range value.Len() {
				var was any
				if i < len(list) {
					was = list[i]
				}
				items = append(items, fromLua(t, value.RawGetInt(i+1), was))
			}
			return items
		}
		was, _ := before.(map[string]any)
		object := map[string]any{}
		value.ForEach(func(key, item lua.LValue) { object[key.String()] = fromLua(t, item, was[key.String()]) })
		return object
	}
	t.Fatalf("a script returns a %s", value.Type())
	return nil
}

// TestScriptsHaveWhatArgoCDGivesThemAndNoMore guards the other tests: in a richer interpreter they would prove nothing.
func TestScriptsHaveWhatArgoCDGivesThemAndNoMore(t *testing.T) {
	has := func(expression string) bool {
		result, ok := runScript(t, fmt.Sprintf("return {it = (%s) ~= nil}", expression), map[string]any{}).(map[string]any)
		return ok && result["it"] == true
	}
	for _, absent := range []string{"string", "io", "math", "os", "debug", "coroutine", `require("os").execute`, `require("os").getenv`} {
		if has(absent) {
			t.Errorf("a script has %s", absent)
		}
	}
	for _, there := range []string{"table.insert", "tostring", `require("os").date`, `require("os").time`} {
		if !has(there) {
			t.Errorf("a script does not have %s", there)
		}
	}
}
