"""Layouts, partials and macros are resolved while loading: what remains is one straight tree per template.

Invariant: the result holds no Extends, Block, Include, FromImport, Macro, CallBlock or Call: nothing is looked up and
nothing can recurse while a message renders.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from jinja2 import nodes

from engine.dispatch.templates.grammar import TemplateSources, node_count, walk
from engine.dispatch.templates.template_problem import TemplateProblem, nearest

FLAT_NODES_MAX: Final = 50_000
NESTING_MAX: Final = 20  # layouts, partials and macros inside each other
LOOP_NESTING_MAX: Final = 12  # CPython compiles at most 20 nested blocks
LAYOUTS: Final = "layouts/"


class FlattenError(Exception):
    """The tree cannot be resolved; the problem has been reported."""


class ExpansionScope(msgspec.Struct, frozen=True):
    """What a body may refer to while it is being expanded."""

    blocks: Mapping[str, list[list[nodes.Node]]]
    macros: dict[str, nodes.Macro]
    above: tuple[str, int] | None = None  # the block we are in, and how far up `super()` has gone
    caller: list[nodes.Node] | None = None
    depth: int = 0
    controls: int = 0
    expanding: tuple[str, ...] = ()  # the macros we are inside of


class Flattener:
    """Expands one template after the other; `trees` are the parsed layouts by path, `broken` those with problems."""

    def __init__(
        self,
        trees: Mapping[str, nodes.Template],
        broken: Collection[str],
        *,
        sources: TemplateSources,
        problems: list[TemplateProblem],
    ) -> None:
        self._trees = trees
        self._broken = broken
        self._sources = sources
        self._problems = problems
        self._count = 0

    def flatten(self, tree: nodes.Template) -> nodes.Template | None:
        """Return the straight tree, or None after reporting a problem."""
        self._count = 0
        try:
            body = self._file(tree, ExpansionScope(blocks={}, macros={}))
        except FlattenError:
            return None
        return nodes.Template(body, lineno=tree.lineno)

    def _fail(self, node: nodes.Node, code: str, message: str, word: str = "") -> FlattenError:
        self._problems.append(self._sources.problem(node.lineno, code, message=message, word=word))
        return FlattenError(message)

    def _tree(self, node: nodes.Node, name: Any) -> nodes.Template:
        if not isinstance(name, nodes.Const) or not isinstance(name.value, str):
            raise self._fail(node, "not_allowed", "a layout or partial must be named by a text between quotes")
        for path in (name.value, LAYOUTS + name.value):
            if path in self._trees:
                return self._trees[path]
            if path in self._broken:
                raise self._fail(node, "missing_layout", f"'{path}' has problems of its own", name.value)
        known = nearest(name.value, [*self._trees, *(path.removeprefix(LAYOUTS) for path in self._trees)])
        message = f"there is no '{name.value}' in templates/{LAYOUTS}{known}"
        raise self._fail(node, "missing_layout", message, name.value)

    def _file(self, tree: nodes.Template, scope: ExpansionScope) -> list[nodes.Node]:
        """Expand a file: its chain of layouts first, then the outermost layout's body."""
        self._deeper(tree, scope)
        chain = [tree]
        hoisted: list[nodes.Node] = []
        while (extends := _extends(chain[-1])) is not None:
            if len(chain) > NESTING_MAX:
                raise self._fail(extends, "recursion", "these layouts extend each other without end")
            hoisted = [*self._outside_blocks(chain[-1]), *hoisted]
            chain.append(self._tree(extends, extends.template))
        blocks: dict[str, list[list[nodes.Node]]] = {}
        for level, part in enumerate(reversed(chain)):
            for block in part.find_all(nodes.Block):
                if level and block.name not in blocks:
                    message = f"the layout has no block '{block.name}'{nearest(block.name, blocks)}"
                    raise self._fail(block, "unknown_block", message, block.name)
                blocks.setdefault(block.name, []).insert(0, block.body)
        inner = ExpansionScope(blocks=blocks, macros=dict(scope.macros), depth=scope.depth + 1, controls=scope.controls)
        return self._body([*hoisted, *chain[-1].body], inner)

    def _outside_blocks(self, tree: nodes.Template) -> list[nodes.Node]:
        kept: list[nodes.Node] = []
        for node in tree.body:
            if isinstance(node, nodes.Assign | nodes.Macro | nodes.FromImport):
                kept.append(node)
            elif isinstance(node, nodes.Output) and all(
                isinstance(child, nodes.TemplateData) and not child.data.strip() for child in node.nodes
            ):
                continue
            elif not isinstance(node, nodes.Extends | nodes.Block):
                raise self._fail(node, "not_allowed", "a template with a layout shows only what is in its blocks")
        return kept

    def _deeper(self, node: nodes.Node, scope: ExpansionScope) -> None:
        if scope.depth > NESTING_MAX:
            raise self._fail(node, "recursion", f"nested more than {NESTING_MAX} deep; does it include itself?")

    def _body(self, body: list[nodes.Node], scope: ExpansionScope) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        for node in body:
            found.extend(self._node(node, scope))
        return found

    def _node(self, node: nodes.Node, scope: ExpansionScope) -> list[nodes.Node]:
        match node:
            case nodes.Output():
                return self._output(node, scope)
            case nodes.Assign():
                self._pay(node)
                return [node]
            case nodes.If() | nodes.For() | nodes.With():
                return [self._control(node, scope)]
            case nodes.Block():
                return self._block(node, node.name, 0, scope)
            case nodes.Include():
                inner = _deeper_scope(scope)
                return [_scoped(node, self._file(self._tree(node, node.template), inner))]
            case nodes.Macro():
                scope.macros[node.name] = node
                return []
            case nodes.FromImport():
                return self._imported(node, scope)
            case nodes.CallBlock():
                return self._macro(node.call, scope, self._body(node.body, scope))
            case _:
                raise self._fail(node, "not_allowed", f"{type(node).__name__} is not possible here")

    def _pay(self, node: nodes.Node) -> None:
        self._count += node_count(node)
        if self._count > FLAT_NODES_MAX:
            message = f"with its layouts, partials and macros it has more than {FLAT_NODES_MAX} elements"
            raise self._fail(node, "too_large", message)

    def _control(self, node: nodes.If | nodes.For | nodes.With, scope: ExpansionScope) -> nodes.Node:
        if scope.controls >= LOOP_NESTING_MAX:
            raise self._fail(node, "too_large", f"more than {LOOP_NESTING_MAX} of if, for and with inside each other")
        inner = msgspec.structs.replace(scope, controls=scope.controls + 1, macros=dict(scope.macros))
        line = node.lineno
        if isinstance(node, nodes.If):
            self._pay(node.test)
            elifs = [nodes.If(e.test, self._body(e.body, inner), [], [], lineno=e.lineno) for e in node.elif_]
            return nodes.If(node.test, self._body(node.body, inner), elifs, self._body(node.else_, inner), lineno=line)
        if isinstance(node, nodes.With):
            return nodes.With(node.targets, node.values, self._body(node.body, inner), lineno=line)
        self._pay(node.iter)
        body, else_ = self._body(node.body, inner), self._body(node.else_, inner)
        return nodes.For(node.target, node.iter, body, else_, node.test, False, lineno=line)  # noqa: FBT003 - Jinja's order

    def _output(self, node: nodes.Output, scope: ExpansionScope) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        for child in node.nodes:
            if isinstance(child, nodes.Call):
                found.extend(self._call(child, scope))
            else:
                self._pay(child)
                found.append(nodes.Output([child], lineno=child.lineno))
        return found

    def _call(self, call: nodes.Call, scope: ExpansionScope) -> list[nodes.Node]:
        assert isinstance(call.node, nodes.Name), "the rewriter leaves only calls of names"
        name = call.node.name
        if name == "super" and scope.above is not None:
            block, level = scope.above
            return self._block(call, block, level + 1, scope)
        if name == "caller" and scope.caller is not None:
            self._pay(nodes.Template(scope.caller, lineno=call.lineno))
            return [_scoped(call, scope.caller)]
        return self._macro(call, scope, None)

    def _block(self, node: nodes.Node, name: str, level: int, scope: ExpansionScope) -> list[nodes.Node]:
        self._deeper(node, scope)
        bodies = scope.blocks.get(name, [])
        if level >= len(bodies):
            raise self._fail(node, "unknown_block", f"there is no block '{name}' above this one", "super")
        inner = msgspec.structs.replace(_deeper_scope(scope), above=(name, level))
        return [_scoped(node, self._body(bodies[level], inner))]

    def _imported(self, node: nodes.FromImport, scope: ExpansionScope) -> list[nodes.Node]:
        self._deeper(node, scope)
        tree = self._tree(node, node.template)
        inner = ExpansionScope(blocks={}, macros={}, depth=scope.depth + 1)
        for child in tree.body:
            if isinstance(child, nodes.Macro | nodes.FromImport):
                self._node(child, inner)
        for wanted in node.names:
            name, alias = wanted if isinstance(wanted, tuple) else (wanted, wanted)
            if name not in inner.macros:
                message = f"there is no macro '{name}' in that file{nearest(name, inner.macros)}"
                raise self._fail(node, "unknown_name", message, name)
            scope.macros[alias] = inner.macros[name]
        # The macros that an imported one calls itself must be found too; a name of our own wins.
        for name, macro in inner.macros.items():
            scope.macros.setdefault(name, macro)
        return []

    def _macro(self, call: nodes.Call, scope: ExpansionScope, caller: list[nodes.Node] | None) -> list[nodes.Node]:
        assert isinstance(call.node, nodes.Name), "the rewriter leaves only calls of names"
        name = call.node.name
        macro = scope.macros.get(name)
        if macro is None:
            message = f"there is no macro '{name}'{nearest(name, scope.macros)}; other things cannot be called"
            raise self._fail(call, "unknown_name", message, name)
        self._deeper(call, scope)
        if name in scope.expanding:
            raise self._fail(call, "recursion", f"macro '{name}' calls itself", name)
        values = self._arguments(call, macro)
        for value in values:
            self._pay(value)
        inner = ExpansionScope(
            blocks={},
            macros=dict(scope.macros),
            caller=caller,
            depth=scope.depth + 1,
            controls=scope.controls + 1,
            expanding=(*scope.expanding, name),
        )
        if inner.controls >= LOOP_NESTING_MAX:
            raise self._fail(call, "too_large", f"more than {LOOP_NESTING_MAX} macros and loops inside each other")
        targets = [nodes.Name(arg.name, "param", lineno=arg.lineno) for arg in macro.args]
        return [nodes.With(targets, values, self._body(macro.body, inner), lineno=call.lineno)]

    def _arguments(self, call: nodes.Call, macro: nodes.Macro) -> list[nodes.Expr]:
        names = [arg.name for arg in macro.args]
        optional = len(names) - len(macro.defaults)
        given: dict[str, nodes.Expr] = dict(zip(names[optional:], macro.defaults, strict=True))
        if len(call.args) > len(names):
            raise self._fail(call, "not_allowed", f"macro '{macro.name}' takes {len(names)} arguments", macro.name)
        given |= dict(zip(names, call.args, strict=False))
        for keyword in call.kwargs:
            if keyword.key not in names:
                message = f"macro '{macro.name}' has no argument '{keyword.key}'{nearest(keyword.key, names)}"
                raise self._fail(call, "not_allowed", message, keyword.key)
            given[keyword.key] = keyword.value
        missing = [name for name in names if name not in given]
        if missing:
            raise self._fail(call, "not_allowed", f"macro '{macro.name}' needs '{missing[0]}'", macro.name)
        return [given[name] for name in names]


def _extends(tree: nodes.Template) -> nodes.Extends | None:
    return next((node for node in tree.body if isinstance(node, nodes.Extends)), None)


def _deeper_scope(scope: ExpansionScope) -> ExpansionScope:
    return msgspec.structs.replace(scope, depth=scope.depth + 1, macros=dict(scope.macros))


def _scoped(node: nodes.Node, body: list[nodes.Node]) -> nodes.Node:
    """Wrap a body so that what it sets stays inside; without `set` no wrapping is needed."""
    if len(body) == 1:
        return body[0]
    return nodes.With([], [], body, lineno=node.lineno)


def paths(tree: nodes.Node) -> frozenset[str]:
    """Return the chains of members a tree reads, such as `customer.first_name`."""
    return frozenset(
        node.args[1].value
        for node in walk(tree)
        if isinstance(node, nodes.Filter) and node.name == "_path" and isinstance(node.args[1], nodes.Const)
    )


def undeclared(body: list[nodes.Node], known: Collection[str]) -> Iterator[nodes.Name]:
    """Yield the names a straight tree reads that neither are known nor bound where they stand."""
    bound = set(known)
    for node in body:
        match node:
            case nodes.For():
                inside = bound | {name.name for name in _targets(node.target)}
                yield from _unbound([node.iter], bound)
                yield from _unbound([node.test] if node.test else [], inside)
                yield from undeclared(node.body, inside)
                yield from undeclared(node.else_, bound)
            case nodes.With():
                yield from _unbound(node.values, bound)
                yield from undeclared(node.body, bound | {name.name for t in node.targets for name in _targets(t)})
            case nodes.If():
                yield from _unbound([node.test], bound)
                yield from undeclared([*node.body, *node.elif_, *node.else_], bound)
                # What is set in a branch may be there afterwards; whether it is, is known only while rendering.
                bound |= {name.name for name in node.find_all(nodes.Name) if name.ctx == "store"}
            case nodes.Assign():
                yield from _unbound([node.node], bound)
                bound |= {name.name for name in _targets(node.target)}
            case _:
                yield from _unbound([node], bound)


def _targets(target: nodes.Node) -> Iterator[nodes.Name]:
    return (node for node in walk(target) if isinstance(node, nodes.Name))


def _unbound(expressions: Sequence[nodes.Node], bound: Collection[str]) -> Iterator[nodes.Name]:
    for expression in expressions:
        for node in walk(expression):
            if isinstance(node, nodes.Name) and node.name not in bound and node.name != "loop":
                yield node
