{{- /* What both containers have in common. */ -}}
{{- define "samply-operator.container" -}}
image: {{ include "samply-operator.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
env:
  - name: SAMPLY_OPERATOR_SETTINGS
    value: /etc/samply-operator/settings.json
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        apiVersion: v1
        fieldPath: metadata.namespace
  - name: POD_NAME
    valueFrom:
      fieldRef:
        apiVersion: v1
        fieldPath: metadata.name
  - name: RELEASE_NAME
    value: {{ .Release.Name | quote }}
  {{- if include "samply-operator.caBundle" . }}
  # OpenSSL's own variable. The public authorities are found in its folder, as before.
  - name: SSL_CERT_FILE
    value: /etc/samply-operator-ca/ca.crt
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* Mounts that both containers have in common. */ -}}
{{- define "samply-operator.mounts" -}}
- name: settings
  mountPath: /etc/samply-operator
  readOnly: true
{{- if include "samply-operator.caBundle" . }}
- name: ca-bundle
  mountPath: /etc/samply-operator-ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The volume with further authorities; nothing: there are none. */ -}}
{{- define "samply-operator.caBundle" -}}
{{- $bundle := .Values.extraCaBundle -}}
{{- if and $bundle.configMapName $bundle.secretName -}}
{{- fail "extraCaBundle: give configMapName or secretName, not both." -}}
{{- end -}}
{{- if or $bundle.configMapName $bundle.secretName -}}
name: ca-bundle
{{- if $bundle.configMapName }}
configMap:
  name: {{ $bundle.configMapName }}
{{- else }}
secret:
  secretName: {{ $bundle.secretName }}
{{- end }}
  items:
    - key: {{ $bundle.key }}
      path: ca.crt
{{- end -}}
{{- end -}}
