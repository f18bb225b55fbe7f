{{- /*
The sidecar's container, the one that `goodput-proxy inject` adds:

  initContainers:
    - {{- include "goodput-proxy.sidecar" (dict "upstream" "http://127.0.0.1:8000") | nindent 6 }}

It reads the values of no chart, only what it is given; all of it may be left out.

  name, image, imagePullPolicy
  mode        native: an item of initContainers; classic: of containers
  upstream    the server's URL as the container sees it
  listenPort  where it takes requests; a Service's targetPort, as a number
  adminPort   where it serves /metrics
  workers     processes that take requests
  slo         preset, ttft, itl, stall, e2e, objective
  flags       further flags of the proxy, a list of NAME=VALUE
  config      a ConfigMap with its settings under goodput.yaml; needs the volume, below
  resources   requests and limits; a cpu of "" is what so many workers need
  extraVolumeMounts  beside that of `config`
  runAsUser   where the pod's own default is root
  terminationGracePeriodSeconds  the pod's; a classic container drains for as long
*/ -}}
{{- define "goodput-proxy.sidecar" -}}
{{- $known := list "name" "image" "imagePullPolicy" "mode" "upstream" "listenPort" "adminPort" "workers" "slo" "flags" "config" "resources" "runAsUser" "terminationGracePeriodSeconds" "extraVolumeMounts" -}}
{{- range $key, $_ := . -}}
{{- if not (has $key $known) -}}
{{- fail (printf "goodput-proxy.sidecar knows no %q; it knows %s" $key (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- $mode := default "native" .mode -}}
{{- if not (has $mode (list "native" "classic")) -}}
{{- fail (printf "goodput-proxy.sidecar: mode is %q, and must be native or classic" $mode) -}}
{{- end -}}
{{- $native := eq $mode "native" -}}
{{- $port := int (default 9000 .listenPort) -}}
{{- $admin := int (default 9001 .adminPort) -}}
{{- $workers := int (default 1 .workers) -}}
{{- $cores := dict "requests" (printf "%dm" (mul 200 $workers)) "limits" (toString $workers) -}}
{{- $given := default (dict "requests" (dict "cpu" "" "memory" "128Mi") "limits" (dict "cpu" "" "memory" "512Mi")) .resources -}}
{{- $resources := dict -}}
{{- range $kind, $quantities := $given -}}
{{- $found := dict -}}
{{- range $name, $quantity := $quantities -}}
{{- $_ := set $found $name (ternary (get $cores $kind) $quantity (and (eq $name "cpu") (eq (toString $quantity) ""))) -}}
{{- end -}}
{{- $_ := set $resources $kind $found -}}
{{- end -}}
name: {{ default "goodput-proxy" .name }}
image: {{ default "goodput-proxy:0.1.0" .image | quote }}
imagePullPolicy: {{ default "IfNotPresent" .imagePullPolicy }}
{{- if $native }}
restartPolicy: Always
{{- end }}
args:
  - serve
  - {{ printf "--upstream=%s" (default "http://127.0.0.1:8000" .upstream) | quote }}
  - --listen=0.0.0.0:{{ $port }}
  - --admin-listen=0.0.0.0:{{ $admin }}
  {{- if gt $workers 1 }}
  - --workers={{ $workers }}
  {{- end }}
  {{- if .config }}
  - --config=/etc/goodput-proxy/goodput.yaml
  {{- end }}
  {{- range include "goodput-proxy.sloFlags" .slo | fromYamlArray }}
  - {{ quote . }}
  {{- end }}
  {{- range .flags }}
  - {{ printf "--%s" . | quote }}
  {{- end }}
  {{- /* A native sidecar is told to stop when the server has ended, and has nothing left to drain. */}}
  {{- if not $native }}
  {{- $grace := int (default 30 .terminationGracePeriodSeconds) }}
  {{- $delay := min 5 (div $grace 4) }}
  - --drain.delay={{ $delay }}s
  - --drain.timeout={{ max 1 (sub (sub $grace $delay) 3) }}s
  {{- end }}
ports:
  - {name: goodput, containerPort: {{ $port }}, protocol: TCP}
  - {name: goodput-admin, containerPort: {{ $admin }}, protocol: TCP}
{{- /* What holds up or restarts something asks for the proxy alone; readiness, for the server, too. */}}
livenessProbe:
  httpGet: {path: /healthz, port: {{ $admin }}}
  initialDelaySeconds: 10
  periodSeconds: 10
readinessProbe:
  httpGet: {path: /readyz, port: {{ $admin }}}
  periodSeconds: 5
{{- if $native }}
startupProbe:
  httpGet: {path: /healthz, port: {{ $admin }}}
  periodSeconds: 1
  failureThreshold: 120
{{- end }}
resources:
  {{- toYaml $resources | nindent 2 }}
securityContext:
  {{- with .runAsUser }}
  runAsUser: {{ int . }}
  {{- end }}
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
terminationMessagePolicy: FallbackToLogsOnError
{{- if or .config .extraVolumeMounts }}
volumeMounts:
  {{- if .config }}
  {{- /* The whole folder: a single file that is mounted is never updated. */}}
  - {name: goodput-proxy-config, mountPath: /etc/goodput-proxy, readOnly: true}
  {{- end }}
  {{- with .extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* The volume that `config` needs; given the name of the ConfigMap. */ -}}
{{- define "goodput-proxy.volume" -}}
name: goodput-proxy-config
configMap: {name: {{ quote . }}}
{{- end -}}

{{- /* The label by which a PodMonitor finds the pods. */ -}}
{{- define "goodput-proxy.podLabel" -}}
goodput-proxy.dev/sidecar: "true"
{{- end -}}

{{- /* The flags of limits and objective, a list. */ -}}
{{- define "goodput-proxy.sloFlags" -}}
{{- $slo := default dict . -}}
{{- $flags := list -}}
{{- range $name := list "preset" "ttft" "itl" "stall" "e2e" "objective" -}}
{{- if hasKey $slo $name -}}
{{- $flags = append $flags (printf "--slo.%s=%v" $name (get $slo $name)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $flags -}}
{{- end -}}
