{{/* What all parts are called, and what every pod of ours has. */}}
{{- define "anlass.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}
{{- end }}

{{- define "anlass.labels" -}}
app.kubernetes.io/name: anlass
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "anlass.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* A pod: {root, part, command, resources, volume}. `volume` is the claim's name, "" for a folder that goes with the pod. */}}
{{- define "anlass.pod" -}}
metadata:
  labels: {{- include "anlass.labels" . | nindent 4 }}
  annotations:
    prometheus.io/scrape: "true"
    prometheus.io/port: "8081"
    {{- with .root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  {{- /* A service called anlass would put ANLASS_PORT and its like into every pod, and settings that nobody knows are refused. */}}
  enableServiceLinks: false
  terminationGracePeriodSeconds: 45
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .root.Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .once }}
  restartPolicy: OnFailure
  {{- end }}
  containers:
    - name: {{ .part }}
      image: {{ include "anlass.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: {{- toYaml .command | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      env:
        - {name: ANLASS_CONSOLE__HOST, value: "0.0.0.0"}
        - {name: ANLASS_CONSOLE__PORT, value: "8081"}
        - {name: ANLASS_CONSOLE__HOSTS, value: {{ include "anlass.name" .root }}-operators}
        {{- if eq .root.Values.mode "kafka" }}
        - {name: ANLASS_KAFKA__BOOTSTRAP, value: {{ .root.Values.kafka.bootstrap | quote }}}
        - {name: ANLASS_KAFKA__PARTITIONS, value: {{ .root.Values.kafka.partitions | quote }}}
        {{- end }}
        {{- range $name, $value := .root.Values.settings }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
        {{- range $name, $key := .root.Values.secret.keys }}
        - name: {{ $name }}
          valueFrom: {secretKeyRef: {name: {{ $.root.Values.secret.name }}, key: {{ $key }}}}
        {{- end }}
      {{- if not .once }}
      ports:
        - {name: http, containerPort: 8080}
        - {name: operators, containerPort: 8081}
      {{- /* The operators' port answers who calls it by its address; a restoring worker may take long to be ready. */}}
      startupProbe: {httpGet: {path: /healthz, port: operators}, periodSeconds: 5, failureThreshold: 60}
      livenessProbe: {httpGet: {path: /healthz, port: operators}, periodSeconds: 20, timeoutSeconds: 5, failureThreshold: 6}
      readinessProbe: {httpGet: {path: /readyz, port: operators}, periodSeconds: 10, timeoutSeconds: 5}
      {{- end }}
      {{- with .resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - {name: var, mountPath: /project/var}
        - {name: tmp, mountPath: /tmp}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if not .volume }}
    - name: var
      emptyDir: {}
    {{- end }}
{{- end }}
