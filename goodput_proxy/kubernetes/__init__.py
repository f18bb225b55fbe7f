"""The sidecar in Kubernetes objects: `goodput-proxy inject` and the admission webhook.

Both ask the same two questions of a pod template, in plain data: may the sidecar be added, and
which changes does that take. The command splices these changes into the text of a manifest, the
webhook sends them as a JSON patch; so they cannot disagree. Nothing in the proxy imports this
package, and it knows of the proxy only how its flags are spelled.
"""
